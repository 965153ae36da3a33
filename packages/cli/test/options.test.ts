import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOnnx } from '@lowbit/backend-ort'
import { tensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeNpz, writeOnnx } from '@lowbit/formats'
import { QUANTIZE_FLAGS } from '../src/recipes/quantize-flags.js'
import { randomTensor, sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
})
afterEach(() => box.remove())

/** Convolutions with a normalization that only preparation folds: prepared or not, the files differ. */
function convolutions(): Uint8Array {
  const w = (name: string, shape: readonly number[], seed: number) => hostToTensor(name, randomTensor(shape, seed, 0.4))
  const ones = (name: string, n: number) => hostToTensor(name, tensor('float32', [n], Float32Array.from({ length: n }, (_, i) => 1 + i / 10)))
  const nodes = [
    node('Conv', ['x', 'w1'], ['c1'], { pads: [1, 1, 1, 1] }, '', 'stem'),
    node('BatchNormalization', ['c1', 'g', 'b', 'm', 'v'], ['n1'], {}, '', 'bn'),
    node('Relu', ['n1'], ['r1']),
    node('Conv', ['r1', 'w2'], ['c2'], {}, '', 'second'),
    node('Relu', ['c2'], ['r2']),
    node('GlobalAveragePool', ['r2'], ['p']),
    node('Flatten', ['p'], ['f']),
    node('MatMul', ['f', 'w3'], ['y'], {}, '', 'head'),
  ]
  const initializers = [w('w1', [8, 3, 3, 3], 1), ones('g', 8), ones('b', 8), ones('m', 8), ones('v', 8), w('w2', [64, 8, 3, 3], 3), w('w3', [64, 10], 4)]
  return writeOnnx(model(graph({ nodes, inputs: [valueInfo('x', 'float32', ['n', 3, 9, 9])], outputs: [valueInfo('y', 'float32', ['n', 10])], initializers }), { '': 13 }, 8))
}

describe('options that do nothing, contradict or are none', () => {
  it.each([
    [['--percentile', 'abc'], /--percentile: "abc"; expected a number above 0 and at most 100/],
    [['-c', 'data.npz', '--method', 'percentile', '--percentile', 'abc'], /--percentile: "abc"/],
    [['-c', 'data.npz', '--percentile', '99.9'], /--percentile: does nothing with --method mse; expected --method percentile/],
    [['-c', 'data.npz', '--method', 'minmax', '--percentile', '99.9'], /--percentile: does nothing with --method minmax/],
    [['-c', 'data.npz', '--method', 'minmax', '--sample', 'all'], /--sample: does nothing with --method minmax/],
    [['-c', 'data.npz', '--method', 'entropi'], /--method: "entropi"; expected one of .*did you mean entropy\?/],
    [['--method', 'entropy'], /--method: does nothing without --calibration/],
    [['-f', 'dequantize', '--sample', 'all'], /--sample: does nothing without --calibration/],
    [['-w', 'int4', '-c', 'data.npz', '--method', 'mse'], /--method: does nothing with --format matmul-nbits; expected --format qdq or qoperator/],
    [['-w', 'int4', '-c', 'data.npz', '--activations', 'uint8'], /--activations: does nothing with --format matmul-nbits/],
    [['-c', 'data.npz', '-f', 'dynamic', '--no-rescue'], /--no-rescue: does nothing with --format dynamic/],
    [['--operators', 'all'], /--operators: does nothing without --calibration/],
    [['-w', 'int4', '--group', '32', '--per-tensor'], /--group: --group together with --per-tensor/],
    [['-w', 'int8', '--symmetric', '--asymmetric'], /--symmetric: --symmetric together with --asymmetric/],
    [['-w', 'int8', '--bias-correction'], /--bias-correction: does nothing without --calibration/],
    [['-w', 'int8', '--mode', 'sequential'], /--mode: does nothing without --calibration/],
    [['-w', 'int8', '--batch', '4'], /--batch: does nothing without --calibration/],
    [['-w', 'int8', '--image-size', '32'], /--image-size: does nothing without --calibration/],
    [['-w', 'int8', '-c', 'data.npz', '--image-size', '32'], /option image of the data .*there is no image/],
    [['-w', 'int8', '--budget', '8kB'], /--budget: does nothing without --calibration/],
    [['-w', 'int8,int4'], /--weights: int8,int4; expected one type, or --budget/],
    [['-w', 'int4', '-w', 'int8'], /--weights: "int4" and "int8"; expected it once/],
    [['-w', 'itn4'], /--weights\[0\]: "itn4".*did you mean int4\?/],
    [['-f', 'qqd'], /--format: "qqd".*did you mean qdq\?/],
    [['--threads', '0', '-c', 'data.npz'], /--threads: 0/],
    [['--seed', 'abc'], /--seed: "abc"; expected a whole number of at least 0/],
    [['--seed', '1.5'], /--seed: 1.5/],
    [['--max-memory', '1e99'], /--max-memory/],
    [['--set', 'weightstorage=int8'], /--set weightstorage: an unknown property.*did you mean weightStorage\?/],
    [['--set', 'weightStorage=int4'], /--set weightStorage: "int4"; expected one of uint8, int8/],
    [['--set', 'accuracyLevel=4'], /--set accuracyLevel: does nothing with format dynamic; expected format matmul-nbits/],
    [['--set', 'weightStorage=int8', '--set', 'weightStorage=uint8'], /--set weightStorage: two values/],
    [['--set', '__proto__=1'], /--set __proto__: an unknown property/],
    [['--override', 'first=float:16'], /--override/],
    [['--override', 'first=int4:0'], /--override/],
    [['--override', 'first=int4:16:2'], /--override/],
    [['--report', 'r.txt'], /--report: "r.txt"; expected a file whose name ends in .json or .html/],
    [['--calibration-cache', 'c.stats'], /--calibration-cache: does nothing without --calibration/],
  ])('quantize %j', async (args, message) => {
    const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), ...args.map((a) => (a === 'data.npz' ? box.path(a) : a)), '-o', box.path('o.onnx'))
    expect(err).toMatch(message)
    expect(err).toMatch(/^LOWBIT_ARGUMENT/)
    expect(code).toBe(2)
    expect(existsSync(box.path('o.onnx'))).toBe(false)
  })

  it.each([
    [['compare', 'model.onnx', 'model.onnx', '--limit', '2'], /--limit: does nothing without --data/],
    [['sensitivity', 'model.onnx', '-c', 'data.npz', '--probes', '3'], /--probes: does nothing without --measure hessian/],
    [['sensitivity', 'model.onnx', '-c', 'data.npz', '-m', 'output', '--probes', '3'], /--probes: does nothing with --measure output/],
    [['sensitivity', 'model.onnx', '-m', 'modell'], /did you mean model\?/],
    [['tune', 'model.onnx', '-d', 'data.npz', '--max-float', '1.5'], /--max-float: 1.5/],
    [['tune', 'model.onnx', '-d', 'data.npz', '--tolerance', 'x'], /--tolerance: "x"/],
    [['tune', 'model.onnx', '-d', 'data.npz', '-m', 'sqnr', '--labels', 'data.npz'], /--labels: does nothing with --metric sqnr; expected --metric top1/],
  ])('%j', async (args, message) => {
    const { code, err } = await box.lowbit(...args.map((a) => (a.includes('.') && !/^[\d.]+$/.test(a) ? box.path(a) : a)))
    expect(err).toMatch(message)
    expect(code).toBe(2)
  })

  it('offers the formats that the host writes', async () => {
    const host = await openOnnx(box.path('model.onnx'))
    const { option } = QUANTIZE_FLAGS.format
    expect(option.type === 'choice' ? [...option.values].sort() : []).toEqual([...host.supports.formats].sort())
    await host.dispose()
  })

  it('holds the settings, data and configurations of a recipe to what is declared', async () => {
    const run = async (more: object): Promise<string> => {
      writeFileSync(box.path('r.json'), JSON.stringify({ lowbit: 1, model: 'model.onnx', output: 'o.onnx', weights: { dtype: 'int8' }, ...more }))
      const { code, err } = await box.lowbit('run', box.path('r.json'))
      expect(code).toBe(2)
      return err
    }
    expect(await run({ settings: { accuracylevel: 4 } })).toMatch(/LOWBIT_RECIPE: recipe\.settings\.accuracylevel: an unknown property.*did you mean accuracyLevel\?/)
    expect(await run({ format: 'qdq', settings: { accuracyLevel: 4 } })).toMatch(/recipe\.settings\.accuracyLevel: does nothing with format qdq/)
    expect(await run({ calibration: { path: 'data.npz', limt: 3 } })).toMatch(/recipe\.calibration\.limt.*did you mean limit\?/)
  })

  it('fails where nothing is quantized, says why, and does it when asked', async () => {
    const args = ['quantize', box.path('model.onnx'), '-x', '*', '-o', box.path('o.onnx')]
    const { code, err } = await box.lowbit(...args)
    expect(code).toBe(1)
    expect(err).toMatch(/LOWBIT_NOTHING.*excluded.*--allow-nothing/)
    expect((await box.lowbit(...args, '--allow-nothing')).code).toBe(0)
  })

  it('says what was skipped and why where a model has nothing else', async () => {
    const weights = hostToTensor('w', randomTensor([2, 8, 8], 1))
    writeFileSync(box.path('3d.onnx'), writeOnnx(model(graph({ nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'batched')], inputs: [valueInfo('x', 'float32', [2, 4, 8])], outputs: [valueInfo('y', 'float32', [2, 4, 8])], initializers: [weights] }), { '': 17 }, 8)))
    for (const type of ['int8', 'int4']) {
      const { code, err } = await box.lowbit('quantize', box.path('3d.onnx'), '-w', type)
      expect(code).toBe(1)
      expect(err).toMatch(/LOWBIT_NOTHING.*'batched'.*3 dimensions/)
    }
  })
})

it('shows saturation in the report as compare does', async () => {
  writeFileSync(box.path('c.onnx'), convolutions())
  writeFileSync(box.path('d.npz'), writeNpz({ x: tensor('float32', [24, 3, 9, 9], randomTensor([24, 3, 9, 9], 9).data.map((v) => 3 + v / 2)) }))
  const { code } = await box.lowbit('quantize', box.path('c.onnx'), '-w', 'int8', '--activations', 'uint8', '-c', box.path('d.npz'), '--set', 'weightStorage=int8', '-o', box.path('o.onnx'), '--report', box.path('r.json'), '-q')
  expect(code).toBe(0)
  const report = JSON.parse(readFileSync(box.path('r.json'), 'utf8')) as { comparison: { saturation: unknown[] } }
  const { out } = await box.lowbit('compare', box.path('c.onnx'), box.path('o.onnx'), '-d', box.path('d.npz'), '--limit', '16', '--json')
  expect(report.comparison.saturation).toEqual((JSON.parse(out) as { saturation: unknown[] }).saturation)
  expect(report.comparison.saturation.length).toBeGreaterThan(0)
})

it('tune writes the very file that it measured', async () => {
  writeFileSync(box.path('c.onnx'), convolutions())
  writeFileSync(box.path('d.npz'), writeNpz({ x: randomTensor([24, 3, 9, 9], 9) }))
  const ladder = [
    { name: 'int8', recipe: { lowbit: 1, weights: { dtype: 'int8' }, format: 'dequantize' } },
    { name: 'qdq', recipe: { lowbit: 1, weights: { dtype: 'int2' }, activations: { dtype: 'uint8' }, format: 'qdq' } },
  ]
  writeFileSync(box.path('l.json'), JSON.stringify(ladder))
  const args = ['tune', box.path('c.onnx'), '-d', box.path('d.npz'), '-c', box.path('d.npz'), '--metric', 'sqnr', '--ladder', box.path('l.json'), '-o', box.path('o.onnx'), '--json', '--tolerance']
  const hash = (): string => createHash('sha256').update(readFileSync(box.path('o.onnx'))).digest('hex')
  const { code, out, err } = await box.lowbit(...args, '20', '--max-float', '0')
  expect(err).toBe('')
  expect(code).toBe(0)
  const { best } = JSON.parse(out) as { best: { bytes: number; metric: number } }
  const bytes = readFileSync(box.path('o.onnx'))
  expect(bytes.length).toBe(best.bytes)
  const compared = JSON.parse((await box.lowbit('compare', box.path('c.onnx'), box.path('o.onnx'), '-d', box.path('d.npz'), '--json')).out) as { outputs: { sqnr: number }[] }
  expect(compared.outputs[0].sqnr).toBeCloseTo(best.metric, 6)
  // The recipe beside it makes the same file once more.
  const measured = hash()
  expect((await box.lowbit('run', `${box.path('o.onnx')}.recipe.json`)).code).toBe(0)
  expect(hash()).toBe(measured)
})
