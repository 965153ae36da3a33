import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
  vi.spyOn(process, 'cwd').mockReturnValue(box.folder)
})
afterEach(() => {
  vi.restoreAllMocks()
  box.remove()
})

/** Installs a package in the sandbox, as `npm install` would leave it. */
function install(name: string, source: string, more: { readonly listed?: boolean; readonly exports?: unknown } = {}): void {
  const home = box.path(join('node_modules', name))
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name, version: '1.2.3', type: 'module', exports: more.exports ?? { '.': { import: './index.js' } } }))
  writeFileSync(join(home, 'index.js'), source)
  const file = box.path('package.json')
  const project: { devDependencies: Record<string, string> } = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { devDependencies: Record<string, string> }) : { devDependencies: {} }
  if (more.listed !== false) project.devDependencies[name] = '^1.0.0'
  writeFileSync(file, JSON.stringify(project))
}

/** A rounding algorithm in plain JavaScript: every code is the nearest whole number of steps of the largest weight. */
const ROUNDING = (apiVersion: number): string => `
export function nearest({ steps = 7, ...rest } = {}) {
  if (Object.keys(rest).length > 0) throw new Error('unknown option ' + Object.keys(rest))
  return {
    kind: 'rounding', name: 'my-rounding', version: '1.2.3', apiVersion: ${apiVersion}, config: { steps },
    needs: () => [],
    async round({ weight, scheme }) {
      const [rows, columns] = weight.shape
      const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : columns
      const granules = Math.ceil(columns / size)
      const scales = new Float32Array(rows * granules)
      const codes = new Int8Array(rows * columns)
      for (let r = 0; r < rows; r++) for (let g = 0; g < granules; g++) {
        const at = (c) => r * columns + c
        let top = 0
        for (let c = g * size; c < Math.min(columns, (g + 1) * size); c++) top = Math.max(top, Math.abs(weight.data[at(c)]))
        const scale = Math.fround(top / steps)
        scales[r * granules + g] = scale
        for (let c = g * size; c < Math.min(columns, (g + 1) * size); c++) codes[at(c)] = scale === 0 ? 0 : Math.round(weight.data[at(c)] / scale)
      }
      return { q: { scheme, shape: [rows, columns], codes, params: { scales, shape: [rows, granules] } } }
    },
  }
}`

const OBSERVER = `
export const createPlugin = () => ({
  kind: 'observer', name: 'my-observer', version: '1.2.3', apiVersion: 2, config: {}, statistic: 'range', per: 'batch',
  start() { let top = 0; return { add: (seen) => { top = Math.max(top, seen.max[0], -seen.min[0]) }, range: () => ({ min: -top, max: top }), bytes: 8 } },
})
export const other = () => {}`

const int4 = (...more: string[]): Promise<{ code: number; out: string; err: string }> => box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '-o', box.path('o.onnx'), ...more)

describe('algorithms of the user’s own project', () => {
  it('work by name, and a saved recipe pins them', async () => {
    install('my-rounding', ROUNDING(2))
    const { code, err } = await int4('-a', 'my-rounding', '--save-recipe', box.path('r.json'))
    expect(err).toBe('')
    expect(code).toBe(0)
    const bytes = readFileSync(box.path('o.onnx'))
    const recipe = JSON.parse(readFileSync(box.path('r.json'), 'utf8')) as Record<string, unknown>
    expect(recipe).toMatchObject({ rounding: 'my-rounding', plugins: { 'my-rounding': '1.2.3' } })

    const refused = await box.lowbit('run', box.path('r.json'))
    expect(refused.code).toBe(2)
    expect(refused.err).toMatch(/LOWBIT_RECIPE.*my-rounding.*code would run.*--allow-plugins/)
    expect((await box.lowbit('run', box.path('r.json'), '--allow-plugins')).code).toBe(0)
    expect(readFileSync(box.path('o.onnx')).equals(bytes)).toBe(true)

    writeFileSync(box.path('r.json'), JSON.stringify({ ...recipe, plugins: { 'my-rounding': '1.2.4' } }))
    const other = await box.lowbit('run', box.path('r.json'), '--allow-plugins')
    expect(other.code).toBe(1)
    expect(other.err).toMatch(/LOWBIT_VERSION.*version 1\.2\.3 is installed; expected exactly 1\.2\.4/)
  })

  it('are found inside configurations too, and in a scope', async () => {
    install('@me/rounding', ROUNDING(2), { exports: { import: './index.js' } })
    const recipe = { lowbit: 1, model: 'model.onnx', output: 'o.onnx', format: 'matmul-nbits', calibration: { path: 'data.npz' }, weights: { dtype: 'int4', group: 16 }, rounding: { use: '@lowbit/core/unbiased', config: { rounding: { use: '@me/rounding', config: { steps: 6 } } } } }
    writeFileSync(box.path('r.json'), JSON.stringify(recipe))
    expect((await box.lowbit('run', box.path('r.json'))).err).toMatch(/@me\/rounding.*--allow-plugins/)
    const { code, err, out } = await box.lowbit('run', box.path('r.json'), '--allow-plugins', '--json')
    expect(code, out).toBe(0)
    expect(err).toBe('')
    expect(out).toContain('"steps": 6')
  })

  it('give the ranges of activations', async () => {
    install('my-observer', OBSERVER)
    const { code, err, out } = await box.lowbit('quantize', box.path('model.onnx'), '-c', box.path('data.npz'), '--method', 'my-observer', '-o', box.path('o.onnx'), '--save-recipe', box.path('r.json'), '--json')
    expect(err).toBe('')
    expect(code).toBe(0)
    expect((JSON.parse(out) as { plugins: { name: string }[] }).plugins.map((p) => p.name)).toContain('my-observer')
    expect(JSON.parse(readFileSync(box.path('r.json'), 'utf8'))).toMatchObject({ activations: { observer: 'my-observer' }, plugins: { 'my-observer': '1.2.3' } })
    expect((await box.lowbit('run', box.path('r.json'), '--allow-plugins')).code).toBe(0)
  })

  it.each([
    ['of another contract', ROUNDING(9), /LOWBIT_API_VERSION.*my-rounding.*apiVersion 9/],
    ['of another kind', OBSERVER, /LOWBIT_RECIPE.*my-observer, which is an observer plugin; expected a rounding plugin/],
    ['that makes nothing', 'export const f = () => 5', /LOWBIT_PLUGIN.*makes no plugin/],
    ['with several functions', 'export const f = () => 5; export const g = () => 6', /LOWBIT_PLUGIN.*functions f, g/],
    ['without a function', 'export const f = 5', /LOWBIT_PLUGIN.*no function/],
    ['that throws', 'throw new Error("on import")', /LOWBIT_PLUGIN.*on import/],
  ])('refuse a package %s', async (_, source, message) => {
    install('my-rounding', source)
    const { code, err } = await int4('-a', 'my-rounding')
    expect(err).toMatch(message)
    expect(code).not.toBe(0)
    expect(existsSync(box.path('o.onnx'))).toBe(false)
  })

  it('are only those that package.json lists', async () => {
    install('stranger', ROUNDING(2), { listed: false })
    expect((await int4('-a', 'stranger')).err).toMatch(/LOWBIT_NOT_FOUND.*"stranger".*not listed in .*package\.json.*npm install stranger/)
    install('listed', ROUNDING(2))
    writeFileSync(box.path('package.json'), JSON.stringify({ dependencies: { listed: '1', gone: '1' } }))
    expect((await int4('-a', 'gone')).err).toMatch(/LOWBIT_NOT_FOUND.*gone.*not installed/)
    for (const name of ['./node_modules/stranger/index.js', resolve(box.path('node_modules/stranger/index.js')), 'listed/../stranger', 'node:fs', 'file:///etc', 'data:text/javascript,1', '..', '#x']) {
      const { code, err } = await int4('-a', name)
      expect(code, name).toBe(1)
      expect(err, name).toMatch(/LOWBIT_NOT_FOUND.*no name of a package/)
    }
    expect((await int4('-a', 'gptqq')).err).toMatch(/did you mean gptq\?/)
  })

  it('do not leave their package through what it exports', async () => {
    writeFileSync(box.path('outside.js'), 'globalThis.escaped = true')
    install('my-rounding', ROUNDING(2), { exports: { '.': { import: './../../outside.js' } } })
    expect((await int4('-a', 'my-rounding')).code).toBe(1)
    expect('escaped' in globalThis).toBe(false)
  })

  it('may be linked, as workspaces are', async () => {
    install('real', ROUNDING(2))
    symlinkSync(box.path('node_modules/real'), box.path('node_modules/linked'))
    writeFileSync(box.path('package.json'), JSON.stringify({ dependencies: { linked: '1' } }))
    expect((await int4('-a', 'linked')).code).toBe(0)
  })
})
