import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Batch, int8, quantize, tensor } from '@lowbit/core'
import { graph, hostToTensor, isExternal, model, node, planExternal, readOnnx, tensorsOf, valueInfo, writeOnnx } from '@lowbit/formats'
import { saveOnnx } from '@lowbit/formats/node'
import { Graph, shieldedTensors } from '@lowbit/onnx'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compareModels, findSaturation, openOnnx } from '../src/index.js'
import { randomTensor } from './support/random.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-external-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** A convolution with a normalization to fold and limits, and attention with a mask. */
function network(opset: number): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const weight = (name: string, shape: readonly number[], seed: number) => hostToTensor(name, randomTensor(shape, seed, 0.4))
  const vector = (name: string, values: readonly number[]) => hostToTensor(name, tensor('float32', values.length === 1 ? [] : [values.length], Float32Array.from(values)))
  const main = graph({
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], ['c'], { pads: [1, 1, 1, 1] }, '', 'stem'),
      node('BatchNormalization', ['c', 'gain', 'shift', 'mean', 'variance'], ['n']),
      node('Clip', ['n', 'low', 'high'], ['r']),
      node('GlobalAveragePool', ['r'], ['g']),
      node('Flatten', ['g'], ['f']),
      node('MatMul', ['f', 'w2'], ['q'], {}, '', 'query'),
      node('Transpose', ['q'], ['t'], { perm: [1, 0] }),
      node('MatMul', ['q', 't'], ['scores']),
      node('Add', ['scores', 'mask'], ['masked']),
      node('Softmax', ['masked'], ['weights'], { axis: -1 }),
      node('MatMul', ['weights', 'q'], ['v']),
      node('Gemm', ['v', 'w3', 'b3'], ['y'], { transB: 1 }, '', 'head'),
    ],
    inputs: [valueInfo('x', 'float32', [4, 3, 9, 9])],
    outputs: [valueInfo('y', 'float32', [4, 10])],
    initializers: [
      weight('w1', [8, 3, 3, 3], 1), weight('b1', [8], 2), vector('gain', [1, 2, 1, 1, 0.5, 1, 1, 1.5]), weight('shift', [8], 3), weight('mean', [8], 4), vector('variance', [1, 1, 2, 1, 1, 1, 3, 1]),
      vector('low', [0]), vector('high', [6]), weight('w2', [8, 16], 5), weight('w3', [10, 16], 6), weight('b3', [10], 7),
      hostToTensor('mask', tensor('float32', [4, 4], Float32Array.from({ length: 16 }, (_, i) => (i % 4 > i / 4 ? -3.4e38 : 0)))),
    ],
  })
  return { bytes: writeOnnx(model(main, { '': opset }, 8)), batches: [20, 21, 22].map((seed) => ({ x: tensor('float32', [4, 3, 9, 9], randomTensor([4, 3, 9, 9], seed).data.map((v) => 2 + v / 2)) })) }
}

/** Writes a model with every tensor but scalars in another file, however small. */
async function saveApart(name: string, bytes: Uint8Array): Promise<string> {
  const plan = planExternal(readOnnx(bytes), `${name}.data`, 8)
  const data = new Uint8Array(plan.size)
  for (const { tensor: t, offset } of plan.parts) data.set(t.rawData, offset)
  const path = join(folder, name)
  await writeFile(path, writeOnnx(plan.model))
  await writeFile(`${path}.data`, data)
  return path
}

const STATIC = { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' } } as const

describe('static int8 of a model with external data', () => {
  it.each(['qdq', 'qoperator'])('prepared, %s: the same bytes as of the model in one file', async (format) => {
    const { bytes, batches } = network(11)
    const made = await Promise.all([await saveApart('model.onnx', bytes), bytes].map(async (given) => {
      const host = await openOnnx(given, { prepare: true })
      expect(host.prepared.join()).toMatch(/opset 11 upgraded.*folded into convolutions/)
      const { artifact } = await quantize(host, { ...STATIC, format, calibration: batches })
      await host.dispose()
      return artifact.bytes()
    }))
    expect(made[0]).toEqual(made[1])
  })

  it('not prepared: statistics, ranges, rescue and outputs are those of the model in one file, and weights stay where they are', async () => {
    const { bytes, batches } = network(13)
    const apart = await openOnnx(await saveApart('model.onnx', bytes))
    const whole = await openOnnx(bytes)
    expect([...tensorsOf(apart.graphNow().clone().toModel())].filter(isExternal).map((t) => t.name)).toEqual(['w1', 'w2', 'w3'])
    const request = { statistic: 'gram', target: { site: 'head' } } as const
    expect((await apart.observe([request], batches)).get(request)).toEqual((await whole.observe([request], batches)).get(request))
    const of = async (host: typeof whole) => quantize(host, { ...STATIC, exclude: ['query'], activations: { ...STATIC.activations, operators: 'all' }, calibration: batches })
    const [a, b] = [await of(apart), await of(whole)]
    expect(a.report.activations).toEqual(b.report.activations)
    // Sizes before differ by what a file of its own takes.
    const others = (warnings: readonly string[]): readonly string[] => warnings.filter((w) => !w.startsWith('the file is not smaller'))
    expect(others(a.report.warnings)).toEqual(others(b.report.warnings))
    const out = join(folder, 'int8.onnx')
    await a.save(out)
    const [left, right] = [await openOnnx(out), await openOnnx(b.artifact.bytes())]
    expect((await left.run(batches[0])).y).toEqual((await right.run(batches[0])).y)
    for (const host of [apart, whole, left, right]) await host.dispose()
  })

  it('compares, ranks layers and finds saturation where the quantized file has its weights apart', async () => {
    const { bytes, batches } = network(13)
    const reference = await openOnnx(await saveApart('model.onnx', bytes))
    const { artifact } = await quantize(reference, { ...STATIC, calibration: batches, settings: { weightStorage: 'int8' } })
    const inline = join(folder, 'inline.onnx')
    await artifact.save(inline)
    const whole = await openOnnx(inline)
    const apart = await openOnnx(await saveApart('int8.onnx', writeOnnx(whole.graphNow().toModel())))
    const compared = await compareModels(reference, apart, batches, { latency: false, layers: true })
    expect(compared.saturation?.map((s) => s.id)).toContain('stem')
    expect(compared.saturation).toEqual(await findSaturation(whole, batches))
    expect(compared.layers?.map((l) => l.id)).toEqual(expect.arrayContaining(['stem', 'query', 'head']))
    for (const host of [reference, whole, apart]) await host.dispose()
  })

  it('a mask in another file is a mask', async () => {
    const { bytes } = network(13)
    const host = await openOnnx(await saveApart('model.onnx', bytes))
    expect([...shieldedTensors(host.graphNow())]).toEqual([...shieldedTensors(new Graph(readOnnx(bytes)))])
    expect(host.activations().map((p) => p.id)).not.toContain('masked')
    await host.dispose()
  })

  it('is saved with its float weights in another file again', async () => {
    const path = join(folder, 'model.onnx')
    const { bytes, batches } = network(13)
    await saveOnnx(path, readOnnx(bytes), { external: true })
    const host = await openOnnx(await saveApart('apart.onnx', bytes))
    const { artifact, save } = await quantize(host, { ...STATIC, exclude: ['stem'], calibration: batches })
    expect(() => artifact.bytes()).toThrow(/LOWBIT_LIMIT|save it to a path/)
    await save(path)
    const saved = await openOnnx(path)
    expect((await saved.run(batches[0])).y.data).toHaveLength(40)
    await saved.dispose()
    await host.dispose()
  })
})
