import { linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { lockOutput, readWholeFile, saveOnnx } from '@lowbit/formats/node'
import { readOnnx, writeNpz } from '@lowbit/formats'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomTensor, sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
})
afterEach(() => box.remove())

const CALIBRATED = ['-w', 'int4', '-g', '16', '-c', 'data.npz']
/** Names of files in a command line become paths in the sandbox. */
const lowbit = (...args: string[]): ReturnType<Sandbox['lowbit']> => box.lowbit(...args.map((a) => (/\.(onnx|npz|json|html|stats)$/.test(a) ? box.path(a) : a)))

describe('nothing that is read is overwritten', () => {
  it.each([
    ['a link to the model as output', ['quantize', 'model.onnx', '-o', 'link.onnx']],
    ['the target of a link that is the model', ['quantize', 'link.onnx', '-o', 'model.onnx']],
    ['a second name of the model', ['quantize', 'model.onnx', '-o', 'hard.onnx']],
    ['the model as recipe', ['quantize', 'model.onnx', '-o', 'o.onnx', '--save-recipe', 'model.onnx']],
    ['a link to the model as recipe', ['quantize', 'model.onnx', '-o', 'o.onnx', '--save-recipe', 'link.onnx']],
    ['the model as report', ['quantize', 'model.onnx', '-o', 'o.onnx', '--report', 'model.onnx']],
    ['the model as cache', ['quantize', 'model.onnx', ...CALIBRATED, '-o', 'o.onnx', '--calibration-cache', 'link.onnx']],
    ['the data as output', ['quantize', 'model.onnx', ...CALIBRATED, '-o', 'data.npz']],
    ['the data as report', ['quantize', 'model.onnx', ...CALIBRATED, '-o', 'o.onnx', '--report', 'data.npz']],
    ['the output as report', ['quantize', 'model.onnx', '-o', 'o.onnx', '--report', 'o.onnx']],
    ['the recipe as output', ['run', 'recipe.json', '--report', 'recipe.json']],
    ['a model as report of a comparison', ['compare', 'model.onnx', 'copy.onnx', '--report', 'link.onnx']],
    ['the data as report of a comparison', ['compare', 'model.onnx', 'copy.onnx', '-d', 'data.npz', '--report', 'data.npz']],
    ['the model as what is tuned', ['tune', 'model.onnx', '-d', 'data.npz', '-m', 'sqnr', '-o', 'link.onnx']],
    ['the data as what is tuned', ['tune', 'model.onnx', '-d', 'data.npz', '-m', 'sqnr', '-o', 'data.npz']],
  ])('%s', async (_, args) => {
    symlinkSync('model.onnx', box.path('link.onnx'))
    linkSync(box.path('model.onnx'), box.path('hard.onnx'))
    writeFileSync(box.path('copy.onnx'), readFileSync(box.path('model.onnx')))
    writeFileSync(box.path('recipe.json'), JSON.stringify({ lowbit: 1, model: 'model.onnx', output: 'o.onnx', weights: { dtype: 'int8' } }))
    const contents = (): Record<string, string> => Object.fromEntries(readdirSync(box.folder).map((name) => [name, `${String(lstatSync(box.path(name)).isSymbolicLink())} ${readFileSync(box.path(name), 'base64')}`]))
    const before = contents()
    const { code, err } = await lowbit(...args)
    // A report's name may be refused for its ending already.
    expect(err).toMatch(args.includes('--report') ? /LOWBIT_ARGUMENT: --report|LOWBIT_ARGUMENT.*itself/ : /LOWBIT_ARGUMENT.*itself/)
    expect(code).toBe(2)
    expect(contents()).toEqual(before)
  })

  it.each([['-o', 'model.data'], ['--report', 'link.data'], ['--save-recipe', 'hard.data']])('external data of the model as %s', async (flag, name) => {
    const { files } = await saveOnnx(box.path('pair.onnx'), readOnnx(await readWholeFile(box.path('model.onnx'), 1e6)), { external: true })
    symlinkSync(basename(files[1]), box.path('link.data'))
    linkSync(files[1], box.path('hard.data'))
    const before = readFileSync(files[1])
    const { code, err } = await box.lowbit('quantize', box.path('pair.onnx'), ...(flag === '-o' ? [] : ['-o', box.path('o.onnx')]), flag, flag === '-o' ? files[1] : box.path(name))
    expect(err).toMatch(flag === '--report' ? /LOWBIT_ARGUMENT: --report/ : /LOWBIT_ARGUMENT.*external data of the model itself/)
    expect(code).toBe(2)
    expect(readFileSync(files[1]).equals(before)).toBe(true)
  })

  it('an output that is a link stays one', async () => {
    mkdirSync(box.path('real'))
    symlinkSync('real/out', box.path('out.onnx'))
    expect((await lowbit('quantize', 'model.onnx', '-o', 'out.onnx')).code).toBe(0)
    expect(lstatSync(box.path('out.onnx')).isSymbolicLink()).toBe(true)
    expect(readOnnx(await readWholeFile(box.path('real/out'), 1e6)).graph).toBeDefined()
    expect(readdirSync(box.path('real'))).toEqual(['out'])
  })

  it('with --no-clobber not even old outputs', async () => {
    for (const [args, file] of [[['quantize', 'model.onnx', '-o', 'old.onnx'], 'old.onnx'], [['quantize', 'model.onnx', '-o', 'n.onnx', '--report', 'old.json'], 'old.json'], [['quantize', 'model.onnx', '-o', 'n.onnx', '--save-recipe', 'old.json'], 'old.json']] as const) {
      writeFileSync(box.path(file), 'old')
      const { code, err } = await lowbit(...args, '--no-clobber')
      expect(err).toMatch(/LOWBIT_FILE.*already there/)
      expect(code).toBe(1)
      expect(readFileSync(box.path(file), 'utf8')).toBe('old')
    }
    expect(readdirSync(box.folder)).not.toContain('n.onnx')
    expect((await lowbit('quantize', 'model.onnx', '-o', 'n.onnx', '--no-clobber')).code).toBe(0)
  })
})

describe('before any work', () => {
  it.each([
    ['a folder that is not there', ['-o', '/nowhere/o.onnx']],
    ['a folder that cannot be written', ['-o', '/proc/o.onnx']],
    ['a report that cannot be written', ['--report', '/proc/r.html']],
    ['a device', ['-o', '/dev/full']],
  ])('%s is found', async (_, args) => {
    // Calibration would fail at once: the data is not that of the model.
    writeFileSync(box.path('data.npz'), writeNpz({ wrong: randomTensor([3, 5], 1) }))
    const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), '-c', box.path('data.npz'), ...args)
    expect(err).toMatch(/LOWBIT_FILE/)
    expect(code).toBe(1)
    expect(readdirSync(box.folder).sort()).toEqual(['data.npz', 'model.onnx'])
  })

  it.each([[['-o', '-']], [['--report', '-']], [['--save-recipe', '-']]])('standard output is refused with the reason: %s', async (args) => {
    const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), ...args)
    expect(err).toMatch(/LOWBIT_ARGUMENT.*'-'.*a pipe cannot/)
    expect(code).toBe(2)
  })

  it('an output that another run works on is refused', async () => {
    const lock = await lockOutput(box.path('o.onnx'))
    const { code, err } = await lowbit('quantize', 'model.onnx', '-o', 'o.onnx')
    expect(err).toMatch(/LOWBIT_BUSY.*process \d+/)
    expect(code).toBe(1)
    await lock.release()
    expect((await lowbit('quantize', 'model.onnx', '-o', 'o.onnx')).code).toBe(0)
    expect(readdirSync(box.folder).sort()).toEqual(['data.npz', 'model.onnx', 'o.onnx'])
  })
})

describe('failures as JSON', () => {
  it.each([
    ['of lowbit', ['quantize', 'none.onnx', '--json'], 1, { code: 'LOWBIT_FILE', thing: expect.stringContaining('none.onnx') }],
    ['of the command line', ['quantize', 'model.onnx', '--bits', '4', '--json'], 2, { code: 'LOWBIT_ARGUMENT', message: expect.stringContaining('--bits') }],
    ['of a comparison', ['compare', 'model.onnx', 'data.npz', '--json'], 1, { code: 'LOWBIT_FORMAT' }],
  ])('%s', async (_, args, code, error) => {
    const done = await lowbit(...args)
    expect(JSON.parse(done.out)).toMatchObject({ error })
    expect(done.err).toBe('')
    expect(done.code).toBe(code)
  })
})
