import { type ActivationParams, type Batch, dequantizeLinear, difference, int8, quantize, quantizeLinear, type QuantizeOptions, referenceMatmul, roundToNearest, tensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { openOnnx } from '../src/index.js'
import { createSession } from '../src/session.js'
import { convolutions, matrices } from './support/models.js'
import { randomTensor } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

const K = 24
const N = 10
const DTYPES = ['uint8', 'int8', 'uint16', 'int16'] as const

/** One product, in a file of this opset. */
function product(opset: number): Uint8Array<ArrayBuffer> {
  const main = graph({
    nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'product')],
    inputs: [valueInfo('x', 'float32', ['n', K])],
    outputs: [valueInfo('y', 'float32', ['n', N])],
    initializers: [hostToTensor('w', randomTensor([K, N], 4, 0.3))],
  })
  return writeOnnx(model(main, { '': opset }, 8))
}

/** The same by core's slow oracle: codes of both, and their exact product. */
function oracle(x: Float32Array, params: ActivationParams): Float32Array {
  const whole = { kind: 'tensor' } as const
  const codes = quantizeLinear(tensor('float32', [x.length / K, K], x.slice()), Float32Array.of(params.scale), [params.zeroPoint], params.dtype, whole)
  const rounded = dequantizeLinear(codes, [x.length / K, K], Float32Array.of(params.scale), [params.zeroPoint], whole)
  const stored = randomTensor([K, N], 4, 0.3).data
  const rows = Float32Array.from({ length: N * K }, (_, i) => stored[(i % K) * N + Math.floor(i / K)])
  return referenceMatmul(rounded, roundToNearest(rows, N, K, int8())).data
}

describe.each(RUNTIMES)('activations on $name', ({ ort, options }) => {
  describe.each(DTYPES)('%s', (dtype) => {
    it.each([
      ['qdq', 13], ['qdq', 21], ['qoperator', 13], ['qoperator', 21],
    ] as const)('%s at opset %d computes what the oracle does', async (format, opset) => {
      const batches = [1, 2, 3].map((seed): Batch => ({ x: randomTensor([5, K], seed) }))
      const host = await openOnnx(product(opset), { ort })
      const { artifact, report } = await quantize(host, { format, weights: int8(), activations: { dtype, method: 'minmax', rescue: false }, calibration: batches })
      const [point] = report.activations
      expect(point).toMatchObject({ id: 'x', status: 'quantized', dtype })
      const params: ActivationParams = { dtype, scale: point?.scale ?? 0, zeroPoint: point?.zeroPoint ?? 0 }
      for (const graphOptimizationLevel of ['all', 'disabled']) {
        const session = await createSession(ort, artifact.bytes(), { ...options, graphOptimizationLevel })
        for (const batch of batches) {
          const got = toNumbers((await session.run(batch))['y'])
          expect(difference(oracle(toNumbers(batch['x']) as Float32Array, params), got).sqnr).toBeGreaterThan(100)
        }
        await session.release()
      }
      await host.dispose()
    })

    it.each(['qdq', 'qoperator'])('%s of whole networks computes the same fused and not', async (format) => {
      for (const { bytes, batch } of [matrices(), convolutions()]) {
        const host = await openOnnx(bytes, { ort, prepare: true })
        const { artifact } = await quantize(host, { format, weights: int8(), activations: { dtype, rescue: false }, calibration: [batch] })
        const float = toNumbers((await host.run(batch, { model: 'original' }))['y'])
        const plain = await createSession(ort, artifact.bytes(), { graphOptimizationLevel: 'disabled' })
        const said = toNumbers((await plain.run(batch))['y'])
        const session = await createSession(ort, artifact.bytes(), options)
        const got = toNumbers((await session.run(batch))['y'])
        // 8-bit codes may fall to the other side of a tie; 16-bit steps are too small to show.
        expect(difference(said, got).sqnr).toBeGreaterThan(dtype.endsWith('16') ? 60 : 25)
        // Random weights leave 8 bits little to be right with; 16 bits leave the error of the weights alone.
        expect(difference(float, got).sqnr).toBeGreaterThan(dtype.endsWith('16') ? 30 : 10)
        await Promise.all([plain.release(), session.release()])
        await host.dispose()
      }
    })
  })
})

describe('types of activations', () => {
  const opsOf = async (options: Partial<QuantizeOptions>): Promise<readonly string[]> => {
    const { bytes, batch } = matrices()
    const host = await openOnnx(bytes)
    const { artifact } = await quantize(host, { format: 'qoperator', weights: int8(), activations: { dtype: 'uint8', rescue: false }, calibration: [batch], ...options })
    for (const { ort } of RUNTIMES) {
      const session = await createSession(ort, artifact.bytes())
      const got = toNumbers((await session.run(batch))['y'])
      expect(difference(toNumbers((await host.run(batch, { model: 'original' }))['y']), got).sqnr).toBeGreaterThan(10)
      await session.release()
    }
    await host.dispose()
    return readOnnx(artifact.bytes()).graph?.node.map((n) => n.opType) ?? []
  }

  it('unsigned 8-bit ones have integer operators, 16-bit ones stay float products between pairs', async () => {
    expect(await opsOf({})).toEqual(expect.arrayContaining(['QGemm']))
    expect(await opsOf({ activations: { dtype: 'int8', rescue: false } })).toEqual(expect.arrayContaining(['QGemm']))
    const wide = await opsOf({ activations: { dtype: 'uint16', rescue: false } })
    expect(wide).toEqual(expect.arrayContaining(['Gemm', 'MatMul', 'QuantizeLinear']))
    expect(wide.filter((op) => op.startsWith('QLinear') || op === 'QGemm')).toEqual([])
  })

  it('signed 8-bit ones are stored unsigned, so that no kernel saturates, or as they are on request', async () => {
    const { bytes, batch } = convolutions()
    const host = await openOnnx(bytes, { prepare: true })
    const made = async (settings: Record<string, string>): Promise<{ readonly types: Set<number>; readonly plain: ArrayLike<number> }> => {
      const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'int8', rescue: false }, calibration: [batch], settings })
      const session = await createSession(RUNTIMES[0].ort, artifact.bytes(), { graphOptimizationLevel: 'disabled' })
      const plain = toNumbers((await session.run(batch))['y'])
      await session.release()
      return { plain, types: new Set(readOnnx(artifact.bytes()).graph?.initializer.filter((t) => t.name.endsWith('_zero_point') && t.dims.length === 0).map((t) => t.dataType)) }
    }
    const [UINT8, INT8] = [2, 3]
    const [moved, signed] = [await made({}), await made({ weightStorage: 'int8' })]
    expect([moved.types, signed.types]).toEqual([new Set([UINT8]), new Set([INT8])])
    // A code or two on the other side of a tie.
    expect(difference(moved.plain, signed.plain).sqnr).toBeGreaterThan(40)
    await host.dispose()
  })

  it.each([matrices(), convolutions()])('$name: the model of the host computes what the file does', async ({ bytes, batch }) => {
    const host = await openOnnx(bytes, { prepare: true })
    const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8', rescue: false }, calibration: [batch] })
    const session = await createSession(RUNTIMES[0].ort, artifact.bytes(), { graphOptimizationLevel: 'disabled' })
    // The file rounds biases too, and codes fall to the other side of a tie.
    expect(difference(toNumbers((await session.run(batch))['y']), toNumbers((await host.run(batch))['y'])).sqnr).toBeGreaterThan(35)
    await session.release()
    await host.dispose()
  })

  it('may differ from tensor to tensor: an override gives one its own type, range, or float', async () => {
    const { bytes, batch } = matrices()
    const host = await openOnnx(bytes)
    const points = host.activations().map((p) => p.id)
    const overrides: QuantizeOptions['overrides'] = [
      { match: 'x', activation: { dtype: 'int8', scale: 0.05, zeroPoint: 3 } },
      { match: 'c', activation: { dtype: 'uint16', scale: 1e-3, zeroPoint: 0 } },
      { match: 'f', activation: null },
    ]
    for (const format of ['qdq', 'qoperator']) {
      const { artifact, report } = await quantize(host, { format, weights: int8(), activations: { dtype: 'uint8' }, calibration: [batch], overrides })
      const row = (id: string) => report.activations.find((a) => a.id === id)
      expect(row('x')).toMatchObject({ dtype: 'int8', scale: 0.05, zeroPoint: 3 })
      expect(row('c')).toMatchObject({ dtype: 'uint16', scale: 1e-3 })
      expect(row('f')).toEqual({ id: 'f', status: 'float', reason: 'override' })
      for (const id of points.filter((p) => !['x', 'c', 'f'].includes(p))) expect(row(id)?.dtype).toBe('uint8')
      const stored = readOnnx(artifact.bytes()).graph?.initializer ?? []
      const scales = stored.filter((t) => t.name.endsWith('_scale')).flatMap((t) => [...new Float32Array(t.rawData.slice().buffer)])
      expect(scales).toEqual(expect.arrayContaining([Math.fround(0.05), Math.fround(1e-3)]))
      for (const { ort } of RUNTIMES) {
        const session = await createSession(ort, artifact.bytes())
        expect(difference(toNumbers((await host.run(batch))['y']), toNumbers((await session.run(batch))['y'])).sqnr).toBeGreaterThan(25)
        await session.release()
      }
    }
    await host.dispose()
  })
})
