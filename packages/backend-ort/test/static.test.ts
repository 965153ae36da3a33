import { type Batch, difference, int8, isLowbitError, quantize, tensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx } from '@lowbit/formats'
import { activationPoints, findSites, Graph, shieldedTensors } from '@lowbit/onnx'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { openOnnx } from '../src/index.js'
import { createSession } from '../src/session.js'
import { tensorInfo } from '../src/calibrate/index.js'
import { convolutions, matrices } from './support/models.js'
import { randomTensor } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

/** A small network as they are: a residual, pools, a concatenation, a linear layer at the end. */
function residual(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const weight = (name: string, shape: readonly number[], seed: number) => hostToTensor(name, randomTensor(shape, seed, 0.4))
  const main = graph({
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], ['c1'], { pads: [1, 1, 1, 1] }, '', 'stem'),
      node('Relu', ['c1'], ['r1']),
      node('MaxPool', ['r1'], ['p1'], { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Conv', ['p1', 'w2', 'b2'], ['c2'], { pads: [1, 1, 1, 1] }, '', 'left'),
      node('Add', ['c2', 'p1'], ['s']),
      node('Relu', ['s'], ['r2']),
      node('Conv', ['r2', 'w3', 'b3'], ['c3'], {}, '', 'right'),
      node('Concat', ['r2', 'c3'], ['k'], { axis: 1 }),
      node('Conv', ['k', 'w4', 'b4'], ['c4'], {}, '', 'mix'),
      node('GlobalAveragePool', ['c4'], ['g']),
      node('Flatten', ['g'], ['f']),
      node('Gemm', ['f', 'w5', 'b5'], ['y'], { transB: 1 }, '', 'head'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 3, 12, 12])],
    outputs: [valueInfo('y', 'float32', ['n', 10])],
    initializers: [
      weight('w1', [8, 3, 3, 3], 1), weight('b1', [8], 2), weight('w2', [8, 8, 3, 3], 3), weight('b2', [8], 4), weight('w3', [8, 8, 1, 1], 5), weight('b3', [8], 6),
      weight('w4', [12, 16, 1, 1], 7), weight('b4', [12], 8), weight('w5', [10, 12], 9), weight('b5', [10], 10),
    ],
  })
  return { bytes: writeOnnx(model(main, { '': 13 }, 8)), batches: [20, 21, 22, 23].map((seed) => ({ x: randomTensor([2, 3, 12, 12], seed) })) }
}

const STATIC = { weights: int8(), activations: { dtype: 'uint8' } } as const

describe.each(RUNTIMES)('static int8 on $name', ({ ort }) => {
  it.each(['qdq', 'qoperator'])('%s computes nearly what the float model does', async (format) => {
    const { bytes, batches } = residual()
    const host = await openOnnx(bytes, { ort })
    const { artifact } = await quantize(host, { ...STATIC, format, calibration: batches })
    const session = await createSession(ort, artifact.bytes())
    const float = await createSession(ort, bytes)
    for (const batch of batches) {
      const { sqnr } = difference(toNumbers((await float.run(batch))['y']), toNumbers((await session.run(batch))['y']))
      expect(sqnr).toBeGreaterThan(20)
    }
    await Promise.all([session.release(), float.release(), host.dispose()])
  })

  it.each([matrices(), convolutions()])('$name: optimized and not, a qdq file gives the same to a code or two', async ({ bytes, batch }) => {
    const host = await openOnnx(bytes, { ort })
    const { artifact } = await quantize(host, { ...STATIC, format: 'qdq', calibration: [batch] })
    const fused = await createSession(ort, artifact.bytes())
    const plain = await createSession(ort, artifact.bytes(), { graphOptimizationLevel: 'disabled' })
    expect(difference(toNumbers((await plain.run(batch))['y']), toNumbers((await fused.run(batch))['y'])).sqnr).toBeGreaterThan(30)
    await Promise.all([fused.release(), plain.release(), host.dispose()])
  })
})

describe('qdq', () => {
  it('is integer from end to end: no float value but the input, the pool and the result', async () => {
    const { bytes, batches } = residual()
    const host = await openOnnx(bytes)
    const { artifact } = await quantize(host, { ...STATIC, format: 'qoperator', calibration: batches })
    const ops = readOnnx(artifact.bytes()).graph?.node.map((n) => n.opType) ?? []
    expect(ops.filter((op) => op === 'QLinearConv')).toHaveLength(4)
    expect(ops).toEqual(expect.arrayContaining(['QLinearAdd', 'QGemm']))
    for (const op of ['Conv', 'Relu', 'Gemm', 'Add']) expect(ops).not.toContain(op)
    await host.dispose()
  })

  it('stores weights that no x86 kernel saturates on, and signed ones on request', async () => {
    const { bytes, batches } = residual()
    const host = await openOnnx(bytes)
    const typesOf = async (settings: Record<string, string>): Promise<Set<number>> => {
      const { artifact } = await quantize(host, { ...STATIC, format: 'qdq', calibration: batches, settings })
      return new Set(readOnnx(artifact.bytes()).graph?.initializer.filter((t) => t.name.endsWith('_q') && t.dims.length === 4).map((t) => t.dataType))
    }
    const UINT8 = 2
    const INT8 = 3
    expect(await typesOf({})).toEqual(new Set([UINT8]))
    expect(await typesOf({ weightStorage: 'int8' })).toEqual(new Set([INT8]))
    await expect(typesOf({ weightStorage: 'int4' })).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await host.dispose()
  })

  it('shares one scale across operators that only move values', async () => {
    const main = new Graph(readOnnx(residual().bytes))
    const points = activationPoints(main, findSites(main).records)
    const groupOf = (id: string): string | undefined => points.find((p) => p.id === id)?.group
    expect(groupOf('r1')).toBe(groupOf('p1'))
    // A Relu's output and one with negative values keep their own: the first one's codes do the clipping.
    expect(groupOf('r2')).not.toBe(groupOf('c3'))
    expect(groupOf('x')).not.toBe(groupOf('r1'))
    // Between a convolution and its Relu there is nothing in an integer kernel.
    expect(groupOf('c1')).toBeUndefined()
  })

  it('raises a weight scale where the bias would not fit int32', async () => {
    const main = graph({
      nodes: [node('Conv', ['x', 'w', 'b'], ['y'], {}, '', 'conv')],
      inputs: [valueInfo('x', 'float32', [1, 1, 2, 2])],
      outputs: [valueInfo('y', 'float32', [1, 1, 2, 2])],
      initializers: [hostToTensor('w', tensor('float32', [1, 1, 1, 1], Float32Array.of(1e-9))), hostToTensor('b', tensor('float32', [1], Float32Array.of(5)))],
    })
    const host = await openOnnx(writeOnnx(model(main, { '': 13 }, 8)))
    const batch = { x: tensor('float32', [1, 1, 2, 2], Float32Array.of(0, 1, 0.5, 0.25)) }
    const { artifact, report } = await quantize(host, { ...STATIC, format: 'qdq', calibration: [batch] })
    expect(report.warnings.join()).toContain('raised')
    for (const { ort } of RUNTIMES) {
      const session = await createSession(ort, artifact.bytes())
      for (const value of Array.from(toNumbers((await session.run(batch))['y']))) expect(Math.abs(value - 5)).toBeLessThan(0.05)
      await session.release()
    }
    await host.dispose()
  })
})

describe('masks', () => {
  it('never become activations, nor what they are added to', async () => {
    const main = graph({
      nodes: [
        node('MatMul', ['x', 'w'], ['q'], {}, '', 'query'),
        node('Transpose', ['q'], ['t'], { perm: [1, 0] }),
        node('MatMul', ['q', 't'], ['scores'], {}, '', 'attention'),
        node('Add', ['scores', 'mask'], ['masked']),
        node('Softmax', ['masked'], ['weights'], { axis: -1 }),
        node('MatMul', ['weights', 'q'], ['y'], {}, '', 'mixed'),
      ],
      inputs: [valueInfo('x', 'float32', [4, 8])],
      outputs: [valueInfo('y', 'float32', [4, 8])],
      initializers: [hostToTensor('w', randomTensor([8, 8], 3)), hostToTensor('mask', tensor('float32', [4, 4], Float32Array.from({ length: 16 }, (_, i) => (i % 4 > i / 4 ? -3.4e38 : 0))))],
    })
    const view = new Graph(readOnnx(writeOnnx(model(main, { '': 13 }, 8))))
    expect([...shieldedTensors(view)]).toEqual(['masked'])
    const types = await tensorInfo(RUNTIMES[0].ort, view)
    const points = activationPoints(view, findSites(view).records, { operators: 'all', types }).map((p) => p.id)
    expect(points).not.toContain('masked')
    expect(points).not.toContain('mask')
    expect(points).toEqual(expect.arrayContaining(['x', 'q', 'weights']))
  })

  it.each(['default', 'all'] as const)('give no scale beyond the values of the network, with %s operators: built from an input, or stored', async (operators) => {
    const main = graph({
      nodes: [
        node('MatMul', ['x', 'w'], ['q'], {}, '', 'query'),
        node('Transpose', ['q'], ['t'], { perm: [1, 0] }),
        node('MatMul', ['q', 't'], ['scores'], {}, '', 'attention'),
        node('Cast', ['keep'], ['kept'], { to: 1 }),
        node('Sub', ['one', 'kept'], ['dropped']),
        node('Mul', ['dropped', 'lowest'], ['bias']),
        node('Add', ['scores', 'bias'], ['masked']),
        node('Add', ['masked', 'causal'], ['both']),
        node('Softmax', ['both'], ['weights'], { axis: -1 }),
        node('MatMul', ['weights', 'q'], ['m'], {}, '', 'mixed'),
        node('MatMul', ['m', 'v'], ['y'], {}, '', 'output'),
      ],
      inputs: [valueInfo('x', 'float32', [4, 8]), valueInfo('keep', 'int64', [1, 4])],
      outputs: [valueInfo('y', 'float32', [4, 8])],
      initializers: [
        hostToTensor('w', randomTensor([8, 8], 3)), hostToTensor('v', randomTensor([8, 8], 4)), hostToTensor('one', tensor('float32', [], Float32Array.of(1))), hostToTensor('lowest', tensor('float32', [], Float32Array.of(-3.4e38))),
        hostToTensor('causal', tensor('float32', [4, 4], Float32Array.from({ length: 16 }, (_, i) => (i % 4 > i / 4 ? -1e9 : 0)))),
      ],
    })
    const bytes = writeOnnx(model(main, { '': 13 }, 8))
    const host = await openOnnx(bytes)
    const calibration = [1, 2, 3].map((seed): Batch => ({ x: randomTensor([4, 8], seed), keep: tensor('int64', [1, 4], BigInt64Array.of(1n, 1n, 1n, 0n)) }))
    const { artifact, report } = await quantize(host, { ...STATIC, activations: { dtype: 'uint8', operators }, format: 'qdq', calibration })
    const scales = report.activations.flatMap((a) => (a.scale === undefined ? [] : [a.scale]))
    expect(scales.length).toBeGreaterThan(1)
    expect(Math.max(...scales)).toBeLessThan(1)
    expect(report.activations.map((a) => a.id)).not.toEqual(expect.arrayContaining(['keep']))
    for (const name of ['bias', 'masked', 'both']) expect(report.activations.find((a) => a.id === name)?.status ?? 'float').toBe('float')
    const session = await createSession(RUNTIMES[0].ort, artifact.bytes())
    const [batch] = calibration
    expect(difference(toNumbers((await host.run(batch, { model: 'original' }))['y']), toNumbers((await session.run(batch))['y'])).sqnr).toBeGreaterThan(25)
    await session.release()
    await host.dispose()
  })
})

describe('rescue', () => {
  /**
   * Input channel 15 is `input` times larger than the others and its weights are `weights` times larger. What it adds to the
   * output is as large as what they add, or less: eight bits over all of them lose the others.
   */
  function uneven(input: number, weights: number): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
    const first = randomTensor([16, 16], 5)
    first.data.forEach((v, i) => (first.data[i] = i < 15 * 16 ? v : v * weights))
    const main = graph({
      nodes: [node('MatMul', ['x', 'w1'], ['h'], {}, '', 'uneven'), node('Relu', ['h'], ['r']), node('MatMul', ['r', 'w2'], ['y'], {}, '', 'even')],
      inputs: [valueInfo('x', 'float32', ['n', 16])],
      outputs: [valueInfo('y', 'float32', ['n', 8])],
      initializers: [hostToTensor('w1', first), hostToTensor('w2', randomTensor([16, 8], 6))],
    })
    const batches = [31, 32, 33].map((seed) => {
      const x = randomTensor([6, 16], seed)
      x.data.forEach((v, i) => (x.data[i] = i % 16 < 15 ? v : v * input))
      return { x }
    })
    return { bytes: writeOnnx(model(main, { '': 13 }, 8)), batches }
  }

  const sqnrOf = async (want: Uint8Array, got: Uint8Array, batches: readonly Batch[], runtime = RUNTIMES[0], options = {}): Promise<number> => {
    const outputs: number[][] = []
    for (const bytes of [want, got]) {
      const session = await createSession(runtime.ort, bytes, options)
      const values: number[] = []
      for (const batch of batches) values.push(...Array.from(toNumbers((await session.run(batch))['y'])))
      outputs.push(values)
      await session.release()
    }
    return difference(outputs[0], outputs[1]).sqnr
  }

  it.each([
    ['an activation, which 16 bits repair', 100, 0, 'x', '16-bit', 'uint16', /activation 'x' gets 16 bits: its rounding made \d+ %/],
    ['an activation, which 16 bits do not repair', 20_000, 0, 'x', 'float', undefined, /activation 'x' stays in float/],
    ['a weight, which 16 bits repair', 0.001, 100, 'uneven', '16-bit', 'int16', /weight of 'uneven' gets 16 bits, for 256 bytes more/],
    ['a weight, which 16 bits do not repair', 1e-5, 20_000, 'uneven', 'float', undefined, /weight of 'uneven' stays in float, for 768 bytes more/],
  ] as const)('finds %s', async (_, input, weights, id, to, dtype, sentence) => {
    const { bytes, batches } = uneven(input, weights)
    const host = await openOnnx(bytes)
    const { artifact, report } = await quantize(host, { ...STATIC, format: 'qdq', calibration: batches })
    const isWeight = weights > 0
    const rows = [...report.activations, ...report.sites].filter((row) => row.reason?.startsWith('rescued'))
    expect(rows.map((row) => [row.id, row.status])).toEqual([[id, to === 'float' ? 'float' : 'quantized']])
    expect(rows[0]?.reason).toContain(`now ${to}`)
    expect(isWeight ? report.sites[0]?.scheme?.dtype : report.activations.find((a) => a.id === id)?.dtype).toBe(dtype)
    expect(report.warnings.join('\n')).toMatch(sentence)
    expect(report.warnings.join('\n')).toMatch(/before the rescue, [34]\d\.\d dB after it/)

    const plain = await quantize(host, { ...STATIC, activations: { dtype: 'uint8', rescue: false }, format: 'qdq', calibration: batches })
    expect(plain.report.warnings).toEqual([expect.stringMatching(/^output signal over noise on the calibration data/)])
    const without = await sqnrOf(bytes, plain.artifact.bytes(), batches)
    for (const runtime of RUNTIMES) {
      const fused = await sqnrOf(bytes, artifact.bytes(), batches, runtime)
      expect(fused).toBeGreaterThan(without + 10)
      // What it measured is what the file computes, with and without the runtime's own rewriting.
      const measured = Number(/noise, in calibration: .* ([\d.]+) dB after/.exec(report.warnings.join('\n'))?.[1])
      expect(Math.abs(fused - measured)).toBeLessThan(1)
      expect(Math.abs(fused - (await sqnrOf(bytes, artifact.bytes(), batches, runtime, { graphOptimizationLevel: 'disabled' })))).toBeLessThan(1)
    }
    await host.dispose()
  })

  it('finds both where there are both, and leaves alone what an override decided', async () => {
    const { bytes, batches } = uneven(100, 0)
    const spread = randomTensor([16, 8], 6)
    const view = readOnnx(bytes)
    // One row of the second weight, which only ever meets zeros of the Relu's channel 3.
    spread.data.forEach((v, i) => (spread.data[i] = Math.floor(i / 8) === 3 ? v * 300 : v))
    const first = randomTensor([16, 16], 5)
    first.data.forEach((v, i) => (first.data[i] = i >= 15 * 16 || i % 16 === 3 ? v * 1e-4 : v))
    const initializers = view.graph?.initializer ?? []
    initializers.splice(0, 2, hostToTensor('w1', first), hostToTensor('w2', spread))
    const host = await openOnnx(writeOnnx(view))
    const both = await quantize(host, { ...STATIC, format: 'qdq', calibration: batches })
    const rescued = (report: typeof both.report): string[] => [...report.activations, ...report.sites].filter((row) => row.reason?.startsWith('rescued')).map((row) => row.id)
    expect(rescued(both.report)).toEqual(['x', 'even'])
    const fixed = await quantize(host, { ...STATIC, format: 'qdq', calibration: batches, overrides: [{ match: 'even', weights: int8() }] })
    expect(rescued(fixed.report)).not.toContain('even')
    expect(fixed.report.sites.every((site) => site.scheme?.dtype === 'int8')).toBe(true)
    const params = both.report.activations.find((a) => a.id === 'x')
    const chosen = await quantize(host, { ...STATIC, format: 'qdq', calibration: batches, overrides: [{ match: 'x', activation: { dtype: 'uint8', scale: (params?.scale ?? 0) * 256, zeroPoint: 128 } }] })
    expect(chosen.report.activations.find((a) => a.id === 'x')?.dtype).toBe('uint8')
    await host.dispose()
  })

  it('leaves a healthy model alone', async () => {
    const { bytes, batches } = residual()
    const host = await openOnnx(bytes)
    const { report } = await quantize(host, { ...STATIC, format: 'qdq', calibration: batches })
    expect(report.activations.every((a) => a.status === 'quantized' && a.dtype === 'uint8')).toBe(true)
    expect(report.sites.every((s) => s.scheme?.dtype === 'int8')).toBe(true)
    await host.dispose()
  })
})

describe('bad calibration data', () => {
  const run = async (calibration: readonly Batch[]): Promise<unknown> => {
    const host = await openOnnx(residual().bytes)
    return quantize(host, { ...STATIC, format: 'qdq', calibration }).catch((error: unknown) => error).finally(() => host.dispose())
  }
  it.each([
    ['no batches', [], 'LOWBIT_CALIBRATION', 'no batches'],
    ['a wrong name', [{ z: randomTensor([1, 3, 12, 12], 1) }], 'LOWBIT_DATA', `'z'`],
    ['a wrong shape', [{ x: randomTensor([1, 4, 12, 12], 1) }], 'LOWBIT_DATA', '[1, 4, 12, 12]'],
    ['a wrong type', [{ x: tensor('float64', [1, 3, 12, 12], new Float64Array(432)) }], 'LOWBIT_DATA', 'float64'],
  ] as const)('%s', async (_, data, code, part) => {
    const error = await run(data)
    expect(isLowbitError(error) ? error.code : error).toBe(code)
    expect(String(error)).toContain(part)
  })

  it('says which activation and which sample is not finite', async () => {
    const good = residual().batches
    const bad = randomTensor([2, 3, 12, 12], 9)
    bad.data[17] = NaN
    const error = await run([...good.slice(0, 2), { x: bad }])
    expect(isLowbitError(error, 'LOWBIT_NONFINITE')).toBe(true)
    expect(String(error)).toMatch(/'x' in sample 2/)
  })

  it.each(['mse', 'minmax'] as const)('an infinity that the model makes itself is named with its tensor and sample, %s', async (method) => {
    const main = graph({
      nodes: [node('MatMul', ['x', 'w'], ['h'], {}, '', 'first'), node('Exp', ['h'], ['big']), node('MatMul', ['big', 'v'], ['y'], {}, '', 'second')],
      inputs: [valueInfo('x', 'float32', ['n', 4])],
      outputs: [valueInfo('y', 'float32', ['n', 4])],
      initializers: [hostToTensor('w', tensor('float32', [4, 4], Float32Array.from({ length: 16 }, () => 1))), hostToTensor('v', randomTensor([4, 4], 3))],
    })
    const host = await openOnnx(writeOnnx(model(main, { '': 13 }, 8)))
    const calibration = [0.1, 0.2, 90].map((v) => ({ x: tensor('float32', [1, 4], new Float32Array(4).fill(v)) }))
    const error: unknown = await quantize(host, { ...STATIC, activations: { dtype: 'uint8', method }, format: 'qdq', calibration }).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_NONFINITE')).toBe(true)
    expect(String(error)).toMatch(/'(big|y)' in sample 2/)
    await host.dispose()
  })

  it('an operator that has no integer form stays in float between those that have one, and a site of another type is named', async () => {
    const main = graph({
      nodes: [
        node('MatMul', ['x', 'w'], ['h'], {}, '', 'first'),
        node('Erf', ['h'], ['e']),
        node('MatMul', ['e', 'v'], ['z'], {}, '', 'second'),
        node('Cast', ['z'], ['d'], { to: 11 }),
        node('MatMul', ['d', 'u'], ['y'], {}, '', 'doubles'),
      ],
      inputs: [valueInfo('x', 'float32', ['n', 8])],
      outputs: [valueInfo('y', 'float64', ['n', 8])],
      initializers: [hostToTensor('w', randomTensor([8, 8], 2)), hostToTensor('v', randomTensor([8, 8], 3)), hostToTensor('u', tensor('float64', [8, 8], Float64Array.from(randomTensor([8, 8], 4).data)))],
    })
    const host = await openOnnx(writeOnnx(model(main, { '': 13 }, 8)))
    const { artifact, report } = await quantize(host, { ...STATIC, format: 'qdq', calibration: [{ x: randomTensor([6, 8], 5) }] })
    expect(report.skipped).toEqual([expect.objectContaining({ id: 'doubles', reason: expect.stringMatching(/float64/) as string })])
    expect(report.sites.map((s) => [s.id, s.status])).toEqual([['first', 'quantized'], ['second', 'quantized']])
    expect(readOnnx(artifact.bytes()).graph?.node.map((n) => n.opType)).toContain('Erf')
    await host.dispose()
  })
})
