import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { allocateCodes, codeRange, dequantize, isLowbitError, paramShape, roundToFloat16, weightScheme, type Layout, type PackedTensor, type QTensor, type Scheme } from '@lowbit/core'
import { findLayout, LAYOUTS } from '../../src/layouts/layouts.js'

const asymmetric = { symmetric: false }

/** Schemes each layout takes, with a matrix that fits. */
const EXAMPLES: Readonly<Record<string, readonly { readonly scheme: Scheme; readonly shape: readonly [number, number]; readonly bytes: number }[]>> = {
  'ort-nbits': [
    { scheme: weightScheme('int4', { group: 32 }), shape: [3, 100], bytes: 3 * 4 * 16 + 3 * 4 * 4 },
    { scheme: weightScheme('uint4', { group: 16, ...asymmetric }), shape: [5, 80], bytes: 5 * 5 * 8 + 5 * 5 * 4 + 5 * 3 },
    { scheme: weightScheme('uint2', { group: 16, ...asymmetric }), shape: [2, 96], bytes: 2 * 6 * 4 + 2 * 6 * 4 + 2 * 2 },
    { scheme: weightScheme('int8', { group: 64, ...asymmetric }), shape: [2, 65], bytes: 2 * 2 * 64 + 2 * 2 * 4 + 2 * 2 },
    { scheme: { ...weightScheme('uint4', { group: 32, ...asymmetric }), zeroPoint: 'float' }, shape: [2, 64], bytes: 2 * 2 * 16 + 2 * 2 * 4 + 2 * 2 * 4 },
  ],
  'onnx-int2': [{ scheme: weightScheme('int2', { group: 8 }), shape: [3, 21], bytes: 16 + 9 * 4 }, { scheme: weightScheme('uint2', asymmetric), shape: [3, 21], bytes: 16 + 3 * 4 + 1 }],
  'onnx-int4': [
    { scheme: weightScheme('int4'), shape: [3, 7], bytes: 11 + 12 },
    { scheme: weightScheme('uint4', { perTensor: true }), shape: [3, 7], bytes: 11 + 4 + 1 },
    { scheme: weightScheme('int4', { group: 5, ...asymmetric }), shape: [3, 7], bytes: 11 + 24 + 3 },
  ],
  'onnx-int8': [{ scheme: weightScheme('int8'), shape: [3, 7], bytes: 21 + 12 }, { scheme: weightScheme('uint8', asymmetric), shape: [3, 7], bytes: 21 + 12 + 3 }],
  gptq: [
    { scheme: weightScheme('int4', { group: 32 }), shape: [32, 64], bytes: 32 * 32 + 2 * 16 + 2 * 32 * 2 + 64 * 4 },
    { scheme: weightScheme('uint3', { group: 32, ...asymmetric }), shape: [32, 64], bytes: 32 * 24 + 2 * 12 + 2 * 32 * 2 + 64 * 4 },
    { scheme: weightScheme('uint2', asymmetric), shape: [64, 32], bytes: 64 * 8 + 16 + 64 * 2 + 32 * 4 },
    { scheme: weightScheme('int8', asymmetric), shape: [32, 32], bytes: 32 * 32 + 32 + 64 + 128 },
  ],
  awq: [{ scheme: weightScheme('uint4', { group: 16, ...asymmetric }), shape: [16, 40], bytes: 320 + 3 * 8 + 3 * 16 * 2 }],
  'ggml-q4_0': [{ scheme: weightScheme('int4', { group: 32 }), shape: [3, 64], bytes: 3 * 2 * 18 }],
  'ggml-q4_1': [{ scheme: { ...weightScheme('uint4', { group: 32, ...asymmetric }), zeroPoint: 'float' }, shape: [3, 64], bytes: 3 * 2 * 20 }],
  'ggml-q8_0': [{ scheme: weightScheme('int8', { group: 32 }), shape: [3, 64], bytes: 3 * 2 * 34 }],
  'ggml-tq1_0': [{ scheme: weightScheme('ternary', { group: 256 }), shape: [2, 512], bytes: 4 * 54 }, { scheme: weightScheme('ternary', { perTensor: true }), shape: [2, 256], bytes: 2 * 54 }],
  'ggml-tq2_0': [{ scheme: weightScheme('ternary', { group: 256 }), shape: [2, 512], bytes: 4 * 66 }, { scheme: weightScheme('ternary'), shape: [2, 256], bytes: 2 * 66 }],
}

/** Any codes of a scheme, scales that float16 holds. */
function qtensor(scheme: Scheme, shape: readonly number[], seed: number): QTensor {
  let state = seed | 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) / 2 ** 24
  }
  const { min, max } = codeRange(scheme.dtype)
  const code = (): number => min + Math.floor(next() * (max - min + 1))
  const grid = paramShape(scheme.granularity, shape)
  const granules = grid.reduce((a, b) => a * b, 1)
  const scales = Float32Array.from({ length: granules }, () => roundToFloat16(next() + 0.01))
  const zeroPoints = scheme.zeroPoint === 'float' ? Float32Array.from({ length: granules }, () => roundToFloat16(next() * 8)) : Int32Array.from({ length: granules }, code)
  return { scheme, shape, codes: allocateCodes(scheme.dtype, shape.reduce((a, b) => a * b, 1)).map(code), params: { scales, shape: grid, ...(scheme.symmetric ? {} : { zeroPoints }) } }
}

const bytesOf = (packed: PackedTensor): number => Object.values(packed.buffers).reduce((sum, buffer) => sum + buffer.byteLength, 0)

describe.each(LAYOUTS)('layout $name', (layout: Layout) => {
  const examples = EXAMPLES[layout.name] ?? []
  it('has examples, and is found by its name', () => {
    expect(examples.length).toBeGreaterThan(0)
    expect(findLayout(layout.name)).toBe(layout)
  })
  it.each(examples)('takes the bytes of its formula: $scheme.dtype $shape', ({ scheme, shape, bytes }) => {
    expect(layout.size(scheme, shape)).toBe(bytes)
    expect(bytesOf(layout.pack(qtensor(scheme, shape, 1)))).toBe(bytes)
  })
  it.each(examples)('gives back what was packed: $scheme.dtype $shape', ({ scheme, shape }) => {
    fc.assert(fc.property(fc.integer(), (seed) => {
      const q = qtensor(scheme, shape, seed)
      const back = layout.unpack(layout.pack(q))
      expect(back.codes).toEqual(q.codes)
      expect(back.params.shape).toEqual(q.params.shape)
      if (layout.name !== 'ggml-q4_1') {
        expect(back.params).toEqual(q.params)
        return
      }
      // The minimum is rounded to float16: values agree to its precision.
      const values = dequantize(q).data
      dequantize(back).data.forEach((value, i) => expect(Math.abs(value - (values[i] ?? 0))).toBeLessThan(0.01))
    }), { numRuns: 20 })
  })
  it('refuses what it cannot hold, and says what it wants', () => {
    const q = qtensor(weightScheme('int16'), [2, 4], 1)
    expect(() => layout.pack(q)).toThrow(expect.objectContaining({ code: 'LOWBIT_UNSUPPORTED' }) as Error)
  })
  it.each(examples)('refuses buffers of the wrong size: $scheme.dtype $shape', ({ scheme, shape }) => {
    const packed = layout.pack(qtensor(scheme, shape, 1))
    for (const role of Object.keys(packed.buffers)) {
      const buffer = packed.buffers[role]
      if (buffer === undefined || (role === 'zeroPoints' && scheme.symmetric)) continue
      let thrown: unknown
      try {
        layout.unpack({ ...packed, buffers: { ...packed.buffers, [role]: buffer.subarray(1) } })
      } catch (error) {
        thrown = error
      }
      expect(isLowbitError(thrown, 'LOWBIT_FORMAT'), role).toBe(true)
    }
  })
})
