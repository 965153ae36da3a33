import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { externalRange, graph, hostToTensor, isExternal, model, node, readOnnx, tensorsOf, valueInfo, writeNpz, writeOnnx, type OnnxModel } from '@lowbit/formats'
import { saveOnnx } from '@lowbit/formats/node'
import { randomTensor } from './support/sandbox.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const bin = fileURLToPath(new URL('../src/bin.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lowbit-resume-'))
const path = (name: string): string => join(folder, name)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const WIDTH = 224
const LAYERS = 12

/** The same graph and names whatever the weights. */
function layers(seed: number): OnnxModel {
  const names = Array.from({ length: LAYERS }, (_, i) => `w${i}`)
  const main = graph({
    nodes: names.map((w, i) => node('MatMul', [i === 0 ? 'x' : `h${i - 1}`, w], [i === LAYERS - 1 ? 'y' : `h${i}`], {}, '', `layer${i}`)),
    inputs: [valueInfo('x', 'float32', ['n', WIDTH])],
    outputs: [valueInfo('y', 'float32', ['n', WIDTH])],
    initializers: names.map((w, i) => hostToTensor(w, randomTensor([WIDTH, WIDTH], i + seed, 0.07))),
  })
  return model(main, { '': 17 }, 8)
}

beforeAll(() => {
  writeFileSync(path('model.onnx'), writeOnnx(layers(1)))
  writeFileSync(path('data.npz'), writeNpz({ x: randomTensor([512, WIDTH], 99) }))
})

const args = (output: string, input = 'model.onnx'): readonly string[] => ['--import', 'tsx', bin, 'quantize', path(input), '-w', 'int4', '-f', 'dequantize', '-c', path('data.npz'), '--threads', '1', '-o', path(output)]
// The sources themselves, as the tests see them: no build is needed.
const options = { cwd: root, env: { ...process.env, TSX_TSCONFIG_PATH: join(root, 'tsconfig.base.json') } }

const kept = (output: string): readonly string[] => {
  const work = path(`.${output}.lowbit-work`)
  return existsSync(work) ? readdirSync(work, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.safetensors')) : []
}

/** Waits until so many sites are kept; false if the process ended before. */
async function keptSites(process: ChildProcess, output: string, count: number): Promise<boolean> {
  while (process.exitCode === null) {
    if (kept(output).length >= count) return true
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return false
}

describe('a run that is killed', () => {
  it('goes on where it stopped, to the same bytes', async () => {
    expect(spawnSync(process.execPath, args('whole.onnx'), { ...options, encoding: 'utf8' })).toMatchObject({ status: 0 })

    const killed = spawn(process.execPath, args('again.onnx'), { ...options, stdio: 'ignore' })
    const ended = new Promise((resolve) => killed.once('exit', (_, signal) => resolve(signal)))
    expect(await keptSites(killed, 'again.onnx', 3)).toBe(true)
    killed.kill('SIGKILL')
    expect(await ended).toBe('SIGKILL')
    expect(existsSync(path('again.onnx'))).toBe(false)
    const done = kept('again.onnx').length
    expect(done).toBeGreaterThanOrEqual(3)
    expect(done).toBeLessThan(LAYERS)

    const resumed = spawnSync(process.execPath, args('again.onnx'), { ...options, encoding: 'utf8' })
    expect(resumed.status).toBe(0)
    expect(`${resumed.stdout}${resumed.stderr}`).toMatch(new RegExp(`${done} sites were already done`))
    expect(readFileSync(path('again.onnx')).equals(readFileSync(path('whole.onnx')))).toBe(true)
    expect(readdirSync(folder).sort()).toEqual(['again.onnx', 'data.npz', 'model.onnx', 'whole.onnx'])
  }, 180_000)

  it('takes up nothing of a model whose external data is another one now', async () => {
    // Two checkpoints of one training: the model files are alike to the byte, their data files are not.
    const [, first] = (await saveOnnx(path('one.onnx'), layers(1), { external: true })).files
    const [, second] = (await saveOnnx(path('two.onnx'), layers(100), { external: true })).files
    const location = [...tensorsOf(readOnnx(readFileSync(path('one.onnx'))))].filter(isExternal).map((t) => externalRange(t).location)[0]
    const data = path(location)
    expect(data).toBe(first)
    const killed = spawn(process.execPath, args('mixed.onnx', 'one.onnx'), { ...options, stdio: 'ignore' })
    const ended = new Promise((resolve) => killed.once('exit', resolve))
    expect(await keptSites(killed, 'mixed.onnx', 2)).toBe(true)
    killed.kill('SIGKILL')
    await ended
    copyFileSync(second, data)
    const resumed = spawnSync(process.execPath, args('mixed.onnx', 'one.onnx'), { ...options, encoding: 'utf8' })
    expect(resumed.status).toBe(0)
    expect(`${resumed.stdout}${resumed.stderr}`).not.toMatch(/already done/)
    expect(`${resumed.stdout}${resumed.stderr}`).toMatch(/are not used/)
    const clean = spawnSync(process.execPath, args('clean.onnx', 'two.onnx'), { ...options, encoding: 'utf8' })
    expect(clean.status).toBe(0)
    expect(readFileSync(path('mixed.onnx')).equals(readFileSync(path('clean.onnx')))).toBe(true)
  }, 180_000)
})
