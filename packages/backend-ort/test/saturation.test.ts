import { type Batch, exactCodeMatmul, int8, quantize, type QuantizeOptions, saturatingCodeMatmul, tensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareModels, findSaturation, openOnnx } from '../src/index.js'
import { sampleRows } from '../src/compare/sample-rows.js'
import { randomTensor } from './support/random.js'

/** Two convolutions and a linear layer, as an image network has them; activations of a Relu, near their largest values. */
function network(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const weight = (name: string, shape: readonly number[], seed: number) => hostToTensor(name, randomTensor(shape, seed, 0.4))
  const main = graph({
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], ['c1'], { pads: [1, 1, 1, 1], strides: [2, 2] }, '', 'stem'),
      node('Relu', ['c1'], ['r1']),
      node('Conv', ['r1', 'w2'], ['c2'], { group: 8, pads: [1, 1, 1, 1] }, '', 'depthwise'),
      node('Relu', ['c2'], ['r2']),
      node('Conv', ['r2', 'w3'], ['c3'], { group: 2 }, '', 'grouped'),
      node('Relu', ['c3'], ['r3']),
      node('GlobalAveragePool', ['r3'], ['g']),
      node('Flatten', ['g'], ['f']),
      node('Gemm', ['f', 'w4'], ['h'], { transB: 1 }, '', 'hidden'),
      node('MatMul', ['h', 'w5'], ['y'], {}, '', 'head'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 3, 9, 9])],
    outputs: [valueInfo('y', 'float32', ['n', 5])],
    initializers: [weight('w1', [8, 3, 3, 3], 1), weight('b1', [8], 2), weight('w2', [8, 1, 3, 3], 3), weight('w3', [8, 4, 3, 3], 4), weight('w4', [12, 8], 5), weight('w5', [12, 5], 6)],
  })
  return { bytes: writeOnnx(model(main, { '': 13 }, 8)), batches: [20, 21, 22].map((seed) => ({ x: tensor('float32', [2, 3, 9, 9], randomTensor([2, 3, 9, 9], seed).data.map((v) => 3 + v / 2)) })) }
}

async function saturationOf(options: Partial<QuantizeOptions>): Promise<readonly { readonly id: string; readonly share: number; readonly sqnr: number }[]> {
  const { bytes, batches } = network()
  const host = await openOnnx(bytes)
  const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration: batches, ...options })
  const candidate = await openOnnx(artifact.bytes())
  const found = await findSaturation(candidate, batches)
  await candidate.dispose()
  await host.dispose()
  return found
}

describe('findSaturation', () => {
  it.each([['qdq', 'uint8'], ['qoperator', 'uint8'], ['qdq', 'int8'], ['qoperator', 'int8']] as const)('names the sites of a %s file with %s activations and signed weights', async (format, dtype) => {
    const found = await saturationOf({ format, activations: { dtype }, settings: { weightStorage: 'int8' } })
    // The depthwise one multiplies in 32 bits.
    expect(found.map((s) => s.id)).toContain('stem')
    expect(found.map((s) => s.id)).not.toContain('depthwise')
    for (const { share, sqnr } of found) {
      expect(share).toBeGreaterThan(0)
      expect(share).toBeLessThanOrEqual(1)
      expect(sqnr).toBeLessThan(60)
    }
    expect(found.map((s) => s.sqnr)).toEqual([...found.map((s) => s.sqnr)].sort((a, b) => a - b))
  })

  it.each([
    ['the default', {}],
    ['a qoperator file', { format: 'qoperator' }],
    ['signed weights of a reduced range', { weights: int8({ reduceRange: true }), settings: { weightStorage: 'int8' } }],
    ['signed activations', { activations: { dtype: 'int8' } }],
    ['signed activations and weights of a reduced range', { activations: { dtype: 'int8' }, weights: int8({ reduceRange: true }), settings: { weightStorage: 'int8' } }],
    ['16-bit activations', { activations: { dtype: 'uint16' }, settings: { weightStorage: 'int8' } }],
    ['weights alone', { format: 'dequantize', activations: undefined as never }],
    ['dynamic activations', { format: 'dynamic', activations: undefined as never }],
  ] as readonly (readonly [string, Partial<QuantizeOptions>])[])('has nothing to say of %s', async (_, options) => {
    expect(await saturationOf(options)).toEqual([])
  })

  it('is part of a comparison', async () => {
    const { bytes, batches } = network()
    const a = await openOnnx(bytes)
    const host = await openOnnx(bytes)
    const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration: batches, settings: { weightStorage: 'int8' } })
    const b = await openOnnx(artifact.bytes())
    const compared = await compareModels(a, b, batches, { latency: false })
    expect(compared.saturation).toEqual(await findSaturation(b, batches))
    expect((await compareModels(a, a, batches, { latency: false })).saturation).toEqual([])
    expect((await compareModels(a, b, batches, { latency: false, saturation: false })).saturation).toBeUndefined()
    for (const h of [a, b, host]) await h.dispose()
  })
})

describe('sampleRows', () => {
  const at = (shape: readonly number[], index: readonly number[]): number => index.reduce((flat, i, axis) => flat * (shape[axis] ?? 1) + i, 0)

  it('gives the rows that a convolution multiplies, in the order of kernel positions and then channels', () => {
    const dims = fc.record({ n: fc.integer({ min: 1, max: 2 }), perGroup: fc.integer({ min: 1, max: 3 }), groups: fc.integer({ min: 1, max: 2 }), h: fc.integer({ min: 3, max: 6 }), w: fc.integer({ min: 3, max: 6 }), kh: fc.integer({ min: 1, max: 3 }), kw: fc.integer({ min: 1, max: 2 }), stride: fc.integer({ min: 1, max: 2 }), pad: fc.integer({ min: 0, max: 1 }) })
    fc.assert(
      fc.property(dims, ({ n, perGroup, groups, h, w, kh, kw, stride, pad }) => {
        const shape = [n, perGroup * groups, h, w]
        const data = Uint8Array.from({ length: n * perGroup * groups * h * w }, (_, i) => (i * 37 + 11) % 251)
        const columns = perGroup * kh * kw
        const product = { id: '', op: 'Conv', codes: '', zeroPoint: '', zero: 7, weights: new Int8Array(), rows: 4, columns, groups, scales: new Float32Array(1), window: { kernel: [kh, kw], strides: [stride, stride], dilations: [1, 1], pads: [pad, pad, pad, pad] } }
        const oh = Math.floor((h + 2 * pad - kh) / stride) + 1
        const ow = Math.floor((w + 2 * pad - kw) / stride) + 1
        for (let g = 0; g < groups; g++) {
          const rows = sampleRows({ data, shape }, product, g, 7, 1e6)
          expect(rows.length).toBe(n * oh * ow * columns)
          let i = 0
          for (let b = 0; b < n; b++) for (let y = 0; y < oh; y++) for (let x = 0; x < ow; x++) for (let dy = 0; dy < kh; dy++) for (let dx = 0; dx < kw; dx++) for (let c = 0; c < perGroup; c++) {
            const [row, column] = [y * stride - pad + dy, x * stride - pad + dx]
            const inside = row >= 0 && row < h && column >= 0 && column < w
            expect(rows[i++]).toBe(inside ? data[at(shape, [b, g * perGroup + c, row, column])] : 7)
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  it('the two kernels agree where no weight is over 64, and differ on the largest codes', () => {
    const product = (weight: number) => ({ activations: new Uint8Array(4).fill(255), weights: new Int8Array(4).fill(weight), rows: 1, columns: 4 })
    expect(saturatingCodeMatmul(product(64))).toEqual(exactCodeMatmul(product(64)))
    expect(saturatingCodeMatmul(product(127))[0]).toBe(2 * 32767)
    expect(exactCodeMatmul(product(127))[0]).toBe(4 * 255 * 127)
  })
})
