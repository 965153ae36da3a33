import { type Batch, difference, int4, int8, quantize, tensor } from '@lowbit/core'
import { awq } from '@lowbit/algos-awq'
import { graph, hostToTensor, model, node, readOnnx, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { compareModels, openOnnx } from '../src/index.js'
import { randomTensor } from './support/random.js'

const weight = (name: string, shape: readonly number[], seed: number, scale = 0.4): TensorProto => hostToTensor(name, randomTensor(shape, seed, scale))
const values = (batch: Batch, name: string): Float32Array => Float32Array.from((batch[name]?.data ?? []) as Float32Array)
const sqnr = (want: Float32Array, got: Float32Array): number => difference(want, got).sqnr

/** An embedding, a norm with a few large gains, and an output layer over the same table or one of its own. */
function tiedTable(tied: boolean): Uint8Array {
  const width = 64
  const main = graph({
    nodes: [
      node('Gather', ['table', 'ids'], ['a'], {}, '', 'embed'),
      node('LayerNormalization', ['a', 'gain', 'beta'], ['n'], {}, '', 'norm'),
      ...(tied ? [node('Transpose', ['table'], ['head'], { perm: [1, 0] })] : []),
      node('MatMul', ['n', 'head'], ['y'], {}, '', 'output'),
    ],
    inputs: [valueInfo('ids', 'int64', ['n', 't'])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [
      weight('table', [40, width], 1),
      hostToTensor('gain', { dtype: 'float32', shape: [width], data: Float32Array.from({ length: width }, (_, i) => (i % 9 === 2 ? 20 : 0.3)) }),
      weight('beta', [width], 3, 0.1),
      ...(tied ? [] : [weight('head', [width, 40], 9)]),
    ],
  })
  return writeOnnx(model(main, { '': 17 }, 8))
}

const ids: readonly Batch[] = [1, 2, 3].map((s) => ({ ids: { dtype: 'int64', shape: [4, 8], data: BigInt64Array.from({ length: 32 }, (_, i) => BigInt((i * 7 * s + s) % 40)) } }))

/** Three matrices; one channel between them is thousands of times larger, so that eight bits of what follows are ruined. */
function spread(withLog = false): Uint8Array {
  const main = graph({
    nodes: [
      node('MatMul', ['x', 'w1'], ['a'], {}, '', 'one'),
      node('Mul', ['a', 'spread'], ['s']),
      node('MatMul', ['s', 'w2'], ['b'], {}, '', 'two'),
      node('Relu', ['b'], ['r']),
      node('MatMul', ['r', 'w3'], ['y'], {}, '', 'three'),
      ...(withLog ? [node('Relu', ['y'], ['yr']), node('Log', ['yr'], ['z'])] : []),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 32])],
    outputs: [valueInfo('y', 'float32'), ...(withLog ? [valueInfo('z', 'float32')] : [])],
    initializers: [
      weight('w1', [32, 32], 1),
      hostToTensor('spread', { dtype: 'float32', shape: [32], data: Float32Array.from({ length: 32 }, (_, i) => (i === 3 ? 3000 : 1)) }),
      hostToTensor('w2', { dtype: 'float32', shape: [32, 32], data: randomTensor([32, 32], 5, 0.4).data.map((v, i) => (Math.floor(i / 32) === 3 ? v / 3000 : v)) }),
      weight('w3', [32, 16], 7),
    ],
  })
  return writeOnnx(model(main, { '': 17 }, 8))
}

const rows: readonly Batch[] = [1, 2, 3, 4].map((seed) => ({ x: randomTensor([16, 32], seed) }))

/** Two convolutions; what lies between them is an output of the model too. */
function between(): Uint8Array {
  const main = graph({
    nodes: [node('Conv', ['x', 'w1'], ['c'], {}, '', 'one'), node('Relu', ['c'], ['r']), node('Conv', ['r', 'w2'], ['y'], {}, '', 'two')],
    inputs: [valueInfo('x', 'float32', ['n', 3, 6, 6])],
    outputs: [valueInfo('y', 'float32'), valueInfo('r', 'float32')],
    initializers: [weight('w1', [8, 3, 3, 3], 1), weight('w2', [8, 8, 3, 3], 3)],
  })
  return writeOnnx(model(main, { '': 13 }, 8))
}

const images: readonly Batch[] = [1, 2].map((seed) => ({ x: randomTensor([2, 3, 6, 6], seed) }))

describe('a group that refuses a scale', () => {
  it.each([true, false])('with clipping %s: is not clipped as if it had been scaled', async (clip) => {
    const [first = {}] = ids
    const plain = await openOnnx(tiedTable(true))
    const want = values(await plain.run(first), 'y')
    await quantize(plain, { format: 'matmul-nbits', weights: int4({ group: 32 }), calibration: ids })
    const rounded = sqnr(want, values(await plain.run(first), 'y'))
    const host = await openOnnx(tiedTable(true))
    const { report } = await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }), calibration: ids, transforms: [awq({ clip })] })
    // The clip is chosen for the inputs of the output layer on all batches, not for this one.
    expect(sqnr(want, values(await host.run(first), 'y'))).toBeGreaterThan(rounded - 1)
    expect(report.transforms.map((t) => [t.applied.some((a) => a.startsWith('scale')), t.reason?.includes("'embed' shares a weight")])).toEqual([[false, true]])
    for (const h of [plain, host]) await h.dispose()
  })

  it('takes the scale where nothing is tied', async () => {
    const host = await openOnnx(tiedTable(false))
    const { report } = await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }), calibration: ids, transforms: [awq()] })
    expect(report.transforms.flatMap((t) => t.applied)).toContain('scale folded')
    await host.dispose()
  })
})

describe('a rescued model', () => {
  it.each([true, false])('prepared %s: is one model in the host, the file and the report', async (prepare) => {
    const host = await openOnnx(spread(), { prepare })
    const [first = {}] = rows
    const want = values(await host.run(first), 'y')
    const { report, artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8', method: 'minmax' }, calibration: rows })
    const written = await openOnnx(artifact.bytes())
    const computed = await host.run(first)
    expect(await written.run(first)).toEqual(computed)
    expect(sqnr(want, values(computed, 'y'))).toBeGreaterThan(30)
    const nodes = readOnnx(artifact.bytes()).graph?.node ?? []
    const behind = new Set(nodes.filter((n) => n.opType === 'QuantizeLinear').map((n) => n.input[0]?.replace(/_raw$/, '')))
    expect(report.activations.map((a) => [a.id, a.status])).toEqual(report.activations.map((a) => [a.id, behind.has(a.id) ? 'quantized' : 'float']))
    for (const h of [host, written]) await h.dispose()
  })

  it('is rescued beside an output that has no numbers', async () => {
    const host = await openOnnx(spread(true))
    const [first = {}] = rows
    const want = values(await host.run(first), 'y')
    const { report } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8', method: 'minmax' }, calibration: rows })
    expect(report.warnings.filter((w) => w.includes('of the output noise'))).not.toEqual([])
    expect(sqnr(want, values(await host.run(first), 'y'))).toBeGreaterThan(30)
    await host.dispose()
  })
})

describe('an output that is a quantized tensor', () => {
  it.each(['qdq', 'qoperator'])('%s: is rounded in the host as in the file', async (format) => {
    const host = await openOnnx(between())
    const { artifact } = await quantize(host, { format, weights: int8(), activations: { dtype: 'uint8' }, calibration: images })
    const written = await openOnnx(artifact.bytes())
    const [first = {}] = images
    const computed = await host.run(first)
    expect(computed).toEqual(await written.run(first))
    expect(new Set(values(computed, 'r')).size).toBeLessThanOrEqual(256)
    for (const h of [host, written]) await h.dispose()
  })
})

describe('a scale', () => {
  it.each([
    ['layer norm over the width', node('LayerNormalization', ['x', 'gain', 'beta'], ['n'], {}, '', 'norm'), node('Conv', ['n', 'w'], ['y'], {}, '', 'site'), [6, 4, 1]],
    ['instance norm before a matrix', node('InstanceNormalization', ['x', 'gain', 'beta'], ['n'], {}, '', 'norm'), node('MatMul', ['n', 'w'], ['y'], {}, '', 'site'), [4, 6]],
    ['batch norm before a matrix', node('BatchNormalization', ['x', 'gain', 'beta', 'mean', 'variance'], ['n'], {}, '', 'norm'), node('MatMul', ['n', 'w'], ['y'], {}, '', 'site'), [4, 6]],
  ] as const)('%s: goes to the channels that the site reads, or in front of it', async (_, norm, site, shape) => {
    const main = graph({
      nodes: [norm, site],
      inputs: [valueInfo('x', 'float32', ['n', 4, 4])],
      outputs: [valueInfo('y', 'float32')],
      initializers: [weight('gain', [4], 1), weight('beta', [4], 2), weight('w', shape, 3), weight('mean', [4], 5), hostToTensor('variance', { dtype: 'float32', shape: [4], data: Float32Array.of(1, 2, 3, 4) })],
    })
    const host = await openOnnx(writeOnnx(model(main, { '': 17 }, 8)))
    const x: Batch = { x: randomTensor([2, 4, 4], 4) }
    const before = values(await host.run(x), 'y')
    const [group] = host.foldGroups()
    expect(group?.producer).toBe('none')
    expect((await host.apply(group?.id ?? '', { kind: 'scale', scales: Float32Array.of(1, 2, 4, 8) })).how).toBe('inserted')
    expect(sqnr(before, values(await host.run(x), 'y'))).toBeGreaterThan(100)
    await host.dispose()
  })
})

describe('data that gives its batches once', () => {
  async function* once(batches: readonly Batch[]): AsyncGenerator<Batch> {
    for (const batch of batches) yield await Promise.resolve(batch)
  }

  it('calibrates and compares as a list does', async () => {
    const main = graph({
      nodes: [node('Conv', ['x', 'w1'], ['c1'], { pads: [1, 1, 1, 1] }, '', 'stem'), node('Relu', ['c1'], ['r1']), node('Conv', ['r1', 'w2'], ['y'], {}, '', 'second')],
      inputs: [valueInfo('x', 'float32', ['n', 3, 9, 9])],
      outputs: [valueInfo('y', 'float32')],
      initializers: [weight('w1', [8, 3, 3, 3], 1), weight('w2', [8, 8, 3, 3], 3)],
    })
    const bytes = writeOnnx(model(main, { '': 13 }, 8))
    const batches: readonly Batch[] = [20, 21, 22].map((seed) => ({ x: tensor('float32', [2, 3, 9, 9], randomTensor([2, 3, 9, 9], seed).data.map((v) => 3 + v / 2)) }))
    const options = { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, settings: { weightStorage: 'int8' }, biasCorrection: true } as const
    const list = await quantize(await openOnnx(bytes), { ...options, calibration: batches })
    const generator = await quantize(await openOnnx(bytes), { ...options, calibration: once(batches) })
    expect(generator.artifact.bytes()).toEqual(list.artifact.bytes())
    const [a, b] = [await openOnnx(bytes), await openOnnx(list.artifact.bytes())]
    const want = await compareModels(a, b, batches, { latency: false, layers: true })
    expect(want.saturation).not.toEqual([])
    expect(await compareModels(a, b, once(batches), { latency: false, layers: true })).toEqual(want)
    for (const host of [a, b]) await host.dispose()
  })
})
