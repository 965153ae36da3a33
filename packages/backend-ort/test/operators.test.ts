import { type Batch, difference, int8, quantize, type StaticActivations } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { openOnnx } from '../src/index.js'
import { createSession } from '../src/session.js'
import { randomTensor } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

/** Operators that ONNX Runtime quantizes, one after another, and ids that never are. */
function zoo(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const weight = (name: string, shape: readonly number[], seed: number) => hostToTensor(name, randomTensor(shape, seed, 0.4))
  const ints = (name: string, values: readonly number[]) => hostToTensor(name, { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })
  const main = graph({
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], ['c1'], { pads: [1, 1, 1, 1] }, '', 'stem'),
      node('LeakyRelu', ['c1'], ['l1']),
      node('AveragePool', ['l1'], ['a1'], { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Sigmoid', ['a1'], ['s1']),
      node('Mul', ['a1', 's1'], ['m1']),
      node('Transpose', ['m1'], ['t1'], { perm: [0, 2, 3, 1] }),
      node('Reshape', ['t1', 'flat'], ['r1']),
      node('Slice', ['r1', 'starts', 'ends', 'axes'], ['sl1']),
      node('Split', ['sl1'], ['p1', 'p2'], { axis: 2, num_outputs: 2 }),
      node('Add', ['p1', 'p2'], ['ad1']),
      node('Unsqueeze', ['ad1', 'axis0'], ['u1']),
      node('Squeeze', ['u1', 'axis0'], ['q1']),
      node('Gather', ['q1', 'ids'], ['ga1'], { axis: 1 }),
      node('MatMul', ['ga1', 'w2'], ['mm'], {}, '', 'mix'),
      node('Relu', ['mm'], ['re']),
      node('Softmax', ['re'], ['so'], { axis: -1 }),
      node('Concat', ['so', 're'], ['k1'], { axis: -1 }),
      node('Tanh', ['k1'], ['th']),
      node('MatMul', ['th', 'w3'], ['y'], {}, '', 'head'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 3, 8, 8]), valueInfo('ids', 'int64', [5])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [
      weight('w1', [8, 3, 3, 3], 1), weight('b1', [8], 2), weight('w2', [4, 6], 3), weight('w3', [12, 4], 4),
      ints('flat', [0, -1, 8]), ints('starts', [1]), ints('ends', [15]), ints('axes', [1]), ints('axis0', [0]),
    ],
  })
  const ids = { dtype: 'int64', shape: [5], data: BigInt64Array.of(0n, 3n, 3n, 7n, 13n) } as const
  return { bytes: writeOnnx(model(main, { '': 18 }, 8)), batches: [20, 21, 22].map((seed) => ({ x: randomTensor([2, 3, 8, 8], seed), ids })) }
}

async function quantized(operators: StaticActivations['operators'], format = 'qdq') {
  const { bytes, batches } = zoo()
  const host = await openOnnx(bytes)
  const { artifact, report } = await quantize(host, { format, weights: int8(), activations: { dtype: 'uint8', rescue: false, ...(operators === undefined ? {} : { operators }) }, calibration: batches })
  const groups = new Map(host.activations().map((a) => [a.id, a.group]))
  await host.dispose()
  return { bytes, batches, artifact, groups, ids: report.activations.map((a) => a.id), activations: report.activations, ops: readOnnx(artifact.bytes()).graph?.node.map((n) => n.opType) ?? [] }
}

describe('which operators take part', () => {
  it('by default those with weights, and what lies between two of them', async () => {
    const { ids } = await quantized(undefined)
    expect(ids).toEqual((await quantized('default')).ids)
    expect(ids).toEqual(expect.arrayContaining(['x', 'c1', 'ga1', 'th']))
    for (const id of ['s1', 'm1', 'l1', 'so', 'k1']) expect(ids).not.toContain(id)
  })

  it('all: every operator of ONNX Runtime’s own list; ids, shapes and what a Softmax reads stay as they are', async () => {
    const { ids } = await quantized('all')
    expect(ids).toEqual(expect.arrayContaining(['x', 'c1', 'l1', 'a1', 's1', 'm1', 't1', 'p1', 'p2', 'ad1', 'ga1', 'so', 'th']))
    for (const id of ['ids', 'flat', 'y_q', 'mm']) expect(ids).not.toContain(id)
  })

  it('a list: these and no others', async () => {
    const { ids } = await quantized(['Conv', 'Sigmoid', 'Mul'])
    expect(ids).toEqual(expect.arrayContaining(['x', 'c1', 'a1', 's1', 'm1']))
    for (const id of ['ga1', 'th', 'so', 'ad1']) expect(ids).not.toContain(id)
    await expect(quantized(['Conv', 'Sin'])).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(quantized(['Conv', 'Sin'])).rejects.toThrow(/'Sin'.*AveragePool, BatchNormalization/)
  })

  it('operators that only move values share one scale', async () => {
    const { activations, groups } = await quantized('all')
    const of = (id: string) => activations.find((a) => a.id === id)
    for (const [a, b] of [['m1', 't1'], ['t1', 'r1'], ['r1', 'sl1'], ['sl1', 'p1'], ['p1', 'p2'], ['ad1', 'u1'], ['u1', 'q1'], ['q1', 'ga1']] as const) {
      expect(groups.get(a)).toBe(groups.get(b))
      expect([of(a)?.scale, of(a)?.zeroPoint]).toEqual([of(b)?.scale, of(b)?.zeroPoint])
    }
    expect(groups.get('a1')).not.toBe(groups.get('s1'))
  })

  it.each(['qdq', 'qoperator'])('all, as %s, runs on both runtimes near the float model', async (format) => {
    const { bytes, batches, artifact, ops } = await quantized('all', format)
    if (format === 'qoperator') expect(ops).toEqual(expect.arrayContaining(['QLinearConv', 'QLinearLeakyRelu', 'QLinearAveragePool', 'QLinearSigmoid', 'QLinearMul', 'QLinearAdd', 'QLinearMatMul']))
    for (const { ort } of RUNTIMES) {
      const float = await createSession(ort, bytes)
      const session = await createSession(ort, artifact.bytes())
      for (const batch of batches) expect(difference(toNumbers((await float.run(batch))['y']), toNumbers((await session.run(batch))['y'])).sqnr).toBeGreaterThan(15)
      await Promise.all([float.release(), session.release()])
    }
  })
})

describe('Relu and Clip', () => {
  const clipped = (low: number, high: number) => {
    const scalar = (name: string, v: number) => hostToTensor(name, { dtype: 'float32', shape: [], data: Float32Array.of(v) })
    const main = graph({
      nodes: [node('Conv', ['x', 'w'], ['c'], {}, '', 'conv'), node('Clip', ['c', 'low', 'high'], ['r']), node('Conv', ['r', 'w2'], ['y'], {}, '', 'next')],
      inputs: [valueInfo('x', 'float32', [1, 2, 4, 4])],
      outputs: [valueInfo('y', 'float32')],
      initializers: [hostToTensor('w', randomTensor([3, 2, 1, 1], 1, 4)), hostToTensor('w2', randomTensor([2, 3, 1, 1], 2)), scalar('low', low), scalar('high', high)],
    })
    return writeOnnx(model(main, { '': 13 }, 8))
  }
  const batches = [1, 2].map((seed): Batch => ({ x: randomTensor([1, 2, 4, 4], seed) }))

  it.each([
    ['clip to what the codes hold', 0, 6, false],
    ['clip to less than the codes hold, which stays', -1, 1, true],
  ] as const)('%s', async (_, low, high, stays) => {
    const bytes = clipped(low, high)
    const host = await openOnnx(bytes)
    // A range wider than the clip: codes would let through what it does not.
    const overrides = stays ? [{ match: 'r', activation: { dtype: 'uint8', scale: 4 / 255, zeroPoint: 128 } as const }] : []
    const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8', method: 'minmax', rescue: false }, calibration: batches, overrides })
    expect(readOnnx(artifact.bytes()).graph?.node.some((n) => n.opType === 'Clip')).toBe(stays)
    for (const { ort } of RUNTIMES) {
      const float = await createSession(ort, bytes)
      const session = await createSession(ort, artifact.bytes())
      for (const batch of batches) expect(difference(toNumbers((await float.run(batch))['y']), toNumbers((await session.run(batch))['y'])).sqnr).toBeGreaterThan(25)
      await Promise.all([float.release(), session.release()])
    }
    await host.dispose()
  })
})
