import { difference } from '@lowbit/core'
import { float, graph, hostToTensor, model, node, readOnnx, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { Graph, foldIntoConv, upgradeOpset } from '@lowbit/onnx'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { openOnnx } from '../src/index.js'
import { foldConstants, prepareGraph } from '../src/prepare/index.js'
import { createSession } from '../src/session.js'
import { randomTensor } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

const [{ ort }] = RUNTIMES
const weight = (name: string, shape: readonly number[], seed: number): TensorProto => hostToTensor(name, randomTensor(shape, seed, 0.5))
const positive = (name: string, count: number, seed: number): TensorProto => {
  const t = randomTensor([count], seed)
  return hostToTensor(name, { ...t, data: t.data.map((v) => Math.abs(v) + 0.5) })
}

/** What exporters wrote in 2018: attributes where inputs are now, weights listed as inputs, a Softmax over all that follows its axis. */
function old(): Uint8Array<ArrayBuffer> {
  const initializers = [weight('w1', [6, 3, 3, 3], 1), positive('gamma', 6, 2), weight('beta', [6], 3), weight('mean', [6], 4), positive('variance', 6, 5), weight('w2', [6, 2, 2, 2], 6), weight('b2', [6], 7), weight('factor', [6, 1, 1], 8), weight('shift', [1, 6, 1, 1], 9)]
  const main = graph({
    nodes: [
      node('Conv', ['x', 'w1'], ['c1'], { pads: [1, 1, 1, 1] }),
      node('BatchNormalization', ['c1', 'gamma', 'beta', 'mean', 'variance'], ['n1'], { epsilon: float(1e-3) }),
      node('Clip', ['n1'], ['r1'], { min: float(0), max: float(6) }),
      node('Dropout', ['r1'], ['d1'], { ratio: float(0.3) }),
      node('Pad', ['d1'], ['p1'], { pads: [0, 0, 1, 1, 0, 0, 1, 1], value: float(0.5) }),
      node('ConvTranspose', ['p1', 'w2', 'b2'], ['c2'], { group: 3, strides: [2, 2] }),
      node('Identity', ['factor'], ['factor_copy']),
      node('Mul', ['factor_copy', 'c2'], ['m2']),
      node('Add', ['m2', 'shift'], ['a2']),
      node('Slice', ['a2'], ['s'], { starts: [1, 0], ends: [9, 5], axes: [2, 3] }),
      node('ReduceSum', ['s'], ['sum'], { axes: [3], keepdims: 0 }),
      node('Softmax', ['sum'], ['soft'], { axis: 1 }),
      node('Unsqueeze', ['soft'], ['u'], { axes: [0] }),
      node('Squeeze', ['u'], ['q'], { axes: [0] }),
      node('Split', ['q'], ['first', 'second'], { axis: 1, split: [2, 4] }),
      node('ReduceMean', ['second'], ['y'], { axes: [1], keepdims: 0 }),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 3, 6, 6]), ...initializers.map((t) => valueInfo(t.name, 'float32', t.dims.map(Number)))],
    outputs: [valueInfo('y', 'float32'), valueInfo('first', 'float32')],
    initializers,
  })
  return writeOnnx(model(main, { '': 8 }, 3))
}

describe('prepareGraph', () => {
  it('brings an old file to opset 13, folds, and changes no output', async () => {
    const bytes = old()
    const { graph: prepared, notes } = await prepareGraph(ort, new Graph(readOnnx(bytes)))
    expect(prepared.opset()).toBe(13)
    expect(notes.join()).toContain('opset 8 upgraded to 13')
    const ops = prepared.nodes().map((n) => n.opType)
    for (const gone of ['BatchNormalization', 'Mul', 'Add', 'Dropout', 'Identity']) expect(ops).not.toContain(gone)
    expect(prepared.proto.input.map((i) => i.name)).toEqual(['x'])
    const batch = { x: randomTensor([3, 3, 6, 6], 77) }
    for (const runtime of RUNTIMES) {
      const before = await createSession(runtime.ort, bytes)
      const after = await createSession(runtime.ort, writeOnnx(prepared.clone().toModel()))
      const want = await before.run(batch)
      const got = await after.run(batch)
      for (const name of ['y', 'first']) expect(difference(toNumbers(want[name]), toNumbers(got[name])).sqnr).toBeGreaterThan(90)
      await Promise.all([before.release(), after.release()])
    }
  })

  it('notices a step that changes the outputs', async () => {
    const view = new Graph(readOnnx(old()))
    // Read between the steps as a constant, and changed behind their back: what a wrong rule would do.
    const broken: typeof ort = { ...ort, InferenceSession: { create: async (m, o) => {
      const session = await ort.InferenceSession.create(m, o)
      const isAfter = typeof m !== 'string' && Number(readOnnx(m).opsetImport[0]?.version) === 13
      if (!isAfter || !session.outputNames.includes('y')) return session
      return { ...session, inputNames: session.inputNames, outputNames: session.outputNames, inputMetadata: session.inputMetadata, outputMetadata: session.outputMetadata, release: () => session.release(), run: async (feeds, fetches) => {
        const out = await session.run(feeds, fetches)
        const { y } = out
        return { ...out, y: new ort.Tensor('float32', Float32Array.from(y.data as Float32Array, (v) => v + 1), y.dims) }
      } }
    } } }
    await expect(prepareGraph(broken, view)).rejects.toMatchObject({ code: 'LOWBIT_INTERNAL' })
  })

  it('leaves the graph it was given alone', async () => {
    const view = new Graph(readOnnx(old()))
    const count = view.nodes().length
    await prepareGraph(ort, view)
    expect(view.nodes()).toHaveLength(count)
    expect(view.opset()).toBe(8)
  })
})

describe('steps of preparation', () => {
  it('fold constants into stored tensors', async () => {
    const main = graph({
      nodes: [node('Constant', [], ['two'], { value: hostToTensor('two', randomTensor([1], 1)) }), node('Mul', ['w', 'two'], ['scaled']), node('MatMul', ['x', 'scaled'], ['y'])],
      inputs: [valueInfo('x', 'float32', ['n', 4])],
      outputs: [valueInfo('y', 'float32')],
      initializers: [weight('w', [4, 4], 2)],
    })
    const view = new Graph(readOnnx(writeOnnx(model(main, { '': 13 }, 8))))
    expect(await foldConstants(ort, view)).toBe(2)
    expect(view.nodes().map((n) => n.opType)).toEqual(['MatMul'])
    expect(view.initializers().map((t) => t.name)).toEqual(['scaled'])
  })

  it('fold nothing that varies along more than the channel, or that others read', () => {
    const main = graph({
      nodes: [node('Conv', ['x', 'w'], ['c']), node('Mul', ['c', 'plane'], ['m']), node('Conv', ['m', 'w2'], ['d']), node('Mul', ['d', 'one'], ['e']), node('Add', ['e', 'd'], ['y'])],
      inputs: [valueInfo('x', 'float32', [1, 2, 3, 3])],
      outputs: [valueInfo('y', 'float32')],
      initializers: [weight('w', [2, 2, 1, 1], 1), weight('plane', [3, 3], 2), weight('w2', [2, 2, 1, 1], 3), weight('one', [1], 4)],
    })
    expect(foldIntoConv(new Graph(readOnnx(writeOnnx(model(main, { '': 13 }, 8)))))).toBe(0)
  })

  it('refuse what cannot be upgraded, by name', () => {
    const main = graph({ nodes: [node('Relu', ['x'], ['y'], {}, '', 'only')], inputs: [valueInfo('x', 'float32', [1])], outputs: [valueInfo('y', 'float32')] })
    expect(() => upgradeOpset(new Graph(readOnnx(writeOnnx(model(main, { '': 5 }, 3)))))).toThrow(/LOWBIT_UNSUPPORTED.*opset 5/)
  })
})

describe('openOnnx with prepare', () => {
  it('shows the sites of the prepared model', async () => {
    const host = await openOnnx(old(), { prepare: true })
    expect(host.prepared.join()).toContain('folded into convolutions')
    expect(host.sites().map((s) => s.op)).toEqual(['Conv', 'ConvTranspose'])
    await host.dispose()
  })
})
