import { tensor } from '@lowbit/core'
import { exactProduct, toyActivations, toyWeights } from '@lowbit/core/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createWasmKernels } from '../src/index.js'

const tiers = [await createWasmKernels({ threads: 1 }), await createWasmKernels({ tier: 'simd128', threads: 1 })]

describe('int8 weights × many rows of activations (seven products for eight)', () => {
  it('gives the exact integer sums, whatever stood in memory before', () => {
    fc.assert(fc.property(fc.integer({ min: 30, max: 75 }), fc.integer({ min: 9, max: 50 }), fc.integer({ min: 250, max: 420 }), fc.nat(1000), (m, n, k, seed) => {
      const q = toyWeights({ name: '', dtype: 'int8' }, n, k, seed, 1)
      const x = toyActivations(m, k, seed, 'codes')
      const wanted = Float32Array.from(exactProduct(x, q, undefined, 'int8').values)
      const dirt = toyWeights({ name: '', dtype: 'int4', group: 32 }, 24, 700, seed)
      for (const kernels of tiers) {
        using other = kernels.prepack(dirt)
        kernels.matmul(toyActivations(80, 700, seed), other)
        using packed = kernels.prepack(q)
        expect(kernels.matmul(x, packed).data).toEqual(wanted)
      }
    }), { numRuns: 25 })
  })

  it('holds where every sum is as large as it can be: −128 and 127 everywhere, in every sign', () => {
    const [m, n, k] = [40, 24, 11008]
    for (const signs of [[1, 1], [1, -1], [-1, 1], [-1, -1]] as const) {
      const q = toyWeights({ name: '', dtype: 'int8' }, n, k, 1, 1)
      // halves of K and of the rows differ in sign, so that the differences of blocks are largest
      q.codes.forEach((_, i) => {
        q.codes[i] = ((i % k) * 2 < k ? signs[0] : 1) * (Math.floor(i / k / 8) % 2 === 0 ? signs[1] : 1) > 0 ? 127 : -128
      })
      const x = tensor('float32', [m, k], Float32Array.from({ length: m * k }, (_, i) => 127 * ((i % k) * 2 < k ? 1 : signs[0]) * (i < (m * k) / 2 ? signs[1] : 1)))
      const wanted = Float32Array.from(exactProduct(x, q, undefined, 'int8').values)
      for (const kernels of tiers) {
        using packed = kernels.prepack(q)
        expect(kernels.matmul(x, packed).data).toEqual(wanted)
      }
    }
  })
})
