import { dequantizeGrouped, type GroupedTensor } from '@lowbit/core'
import { toyActivations, toyGrouped } from '@lowbit/core/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createWasmKernels } from '../src/index.js'

const tensors = fc.record({
  n: fc.integer({ min: 1, max: 40 }), k: fc.integer({ min: 1, max: 200 }), group: fc.constantFrom(1, 7, 16, 20, 32, 64, 100, 256), minima: fc.boolean(), seed: fc.integer({ min: 0, max: 1e6 }),
  range: fc.constantFrom<readonly [number, number]>([0, 1], [-1, 1], [0, 3], [-4, 3], [0, 15], [-8, 7], [0, 31], [-32, 31], [0, 127], [5, 9], [-128, 127], [0, 255], [100, 101]),
  levels: fc.option(fc.array(fc.integer({ min: -128, max: 127 }), { minLength: 1, maxLength: 16 })),
})

describe('grouped weights', () => {
  it('give the same bits on simd128 as in plain TypeScript, whatever their codes, groups and shape', async () => {
    using scalar = await createWasmKernels({ tier: 'scalar' })
    using simd = await createWasmKernels({ tier: 'simd128', threads: 1 })
    fc.assert(fc.property(tensors, fc.integer({ min: 1, max: 6 }), ({ n, k, group, minima, seed, range, levels }, m) => {
      const t: GroupedTensor = toyGrouped(n, k, seed, { group, minima, range, ...(levels === null ? {} : { levels: Int8Array.from(levels) }) })
      const x = toyActivations(m, k, seed)
      using a = scalar.prepack(t)
      using b = simd.prepack(t)
      for (const activations of ['int8', 'int8-group', 'float32'] as const) {
        const wanted = scalar.matmul(x, a, undefined, { activations }).data
        expect(simd.matmul(x, b, undefined, { activations }).data).toEqual(wanted)
      }
      expect(simd.dequantize(b).data).toEqual(scalar.dequantize(a).data)
      // codes stand `offset` away from what is stored, and are put back before anything is rounded
      expect(scalar.dequantize(a).data).toEqual(dequantizeGrouped(t).data)
    }), { numRuns: 60 })
  })

  it('meet no activations of a name that there is not', async () => {
    for (const tier of ['scalar', 'simd128'] as const) {
      using kernels = await createWasmKernels({ tier, threads: 1 })
      using packed = kernels.prepack(toyGrouped(4, 32, 1))
      const options: unknown = { activations: 'int4' }
      expect(() => kernels.matmul(toyActivations(1, 32, 1), packed, undefined, options as { readonly activations: 'int8' })).toThrow(/LOWBIT_ARGUMENT.*int4.*int8-group/)
    }
  })

  it('refuse 16-bit floats that are not finite, and codes without a level', async () => {
    for (const tier of ['scalar', 'simd128'] as const) {
      using kernels = await createWasmKernels({ tier, threads: 1 })
      for (const [dtype, bits] of [['float16', 0x7c00], ['float16', 0xfe00], ['bfloat16', 0x7f80]] as const) {
        expect(() => kernels.prepack({ dtype, shape: [1, 2], data: Uint16Array.of(0, bits) })).toThrow(/LOWBIT_NONFINITE.*element 1/)
      }
      expect(() => kernels.prepack({ shape: [1, 2], codes: Uint8Array.of(0, 4), group: 2, scales: Float32Array.of(1), levels: Int8Array.of(1, 2, 3) })).toThrow(/LOWBIT_DATA.*code 4 at element 1/)
      expect(() => kernels.prepack({ shape: [1, 2], codes: Uint8Array.of(0, 4), group: 2, scales: Float32Array.of(1, 2) })).toThrow(/LOWBIT_SHAPE.*2 scales/)
      expect(() => kernels.prepack({ dtype: 'float16', shape: [2, 2], data: Uint16Array.of(0) })).toThrow(/LOWBIT_SHAPE/)
    }
  })
})
