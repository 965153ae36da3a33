import { dequantize, isLowbitError, weightScheme, type IntegerCode, type QTensor } from '@lowbit/core'
import { LAYOUTS } from '@lowbit/formats/layouts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { exactProduct, toyActivations, toyWeights } from '@lowbit/core/testkit'
import { createWasmKernels } from '../src/index.js'

const kernels = await createWasmKernels({ threads: 1 })
const scalar = await createWasmKernels({ tier: 'scalar' })

const weight = fc.record({
  dtype: fc.constantFrom<IntegerCode>('int2', 'uint2', 'ternary', 'binary', 'int3', 'uint3', 'int4', 'uint4', 'int8', 'uint8'),
  group: fc.option(fc.integer({ min: 1, max: 300 }), { nil: undefined }),
  asymmetric: fc.boolean(),
  n: fc.integer({ min: 1, max: 35 }),
  k: fc.integer({ min: 1, max: 400 }),
  seed: fc.nat(1e6),
})

function made({ dtype, group, asymmetric, n, k, seed }: { dtype: IntegerCode; group: number | undefined; asymmetric: boolean; n: number; k: number; seed: number }): QTensor {
  return toyWeights({ name: '', dtype, asymmetric, ...(group === undefined ? {} : { group }) }, n, k, seed)
}

describe('packing', () => {
  it('keeps every value of any type, group and shape', () => {
    fc.assert(fc.property(weight, (w) => {
      const q = made(w)
      using packed = kernels.prepack(q)
      expect(kernels.dequantize(packed).data).toEqual(dequantize(q).data)
    }), { numRuns: 150 })
  })

  it('multiplies any of them to the bits of plain TypeScript', () => {
    fc.assert(fc.property(weight, fc.integer({ min: 1, max: 9 }), fc.constantFrom('int8' as const, 'float32' as const), (w, m, activations) => {
      const q = made(w)
      const x = toyActivations(m, w.k, w.seed)
      using packed = kernels.prepack(q)
      using plain = scalar.prepack(q)
      expect(kernels.matmul(x, packed, undefined, { activations }).data).toEqual(scalar.matmul(x, plain, undefined, { activations }).data)
    }), { numRuns: 150 })
  })

  it('takes every layout that holds such codes', () => {
    let taken = 0
    for (const layout of LAYOUTS) {
      for (const dtype of ['int2', 'int4', 'uint4', 'int8', 'ternary'] as const) {
        for (const group of [32, 256, undefined]) {
          const scheme = weightScheme(dtype, group === undefined ? {} : { group })
          if (layout.refuses(scheme, [8, 256]) !== undefined) continue
          const q = toyWeights({ name: '', dtype, ...(group === undefined ? {} : { group }) }, 8, 256, 3)
          let bytes
          try {
            bytes = layout.pack(q)
          } catch {
            continue // some layouts refuse values, such as scales that are no half floats
          }
          const x = toyActivations(2, 256, 1)
          using direct = kernels.prepack(layout.unpack(bytes))
          using packed = kernels.prepack(bytes, { layout })
          expect(kernels.matmul(x, packed).data, `${layout.name} ${dtype}`).toEqual(kernels.matmul(x, direct).data)
          taken++
        }
      }
    }
    expect(taken).toBeGreaterThan(4)
  })

  it('holds what it promises in bytes: half a byte a code for int4, and the scales', () => {
    const q = toyWeights({ name: '', dtype: 'int4', group: 32 }, 64, 1024, 1)
    using packed = kernels.prepack(q)
    expect(packed.bytes).toBe((64 * 1024) / 2 + (64 * 1024 / 32) * 4)
  })

  it('frees what it took when a matrix is refused', () => {
    const q = toyWeights({ name: '', dtype: 'int4', group: 32 }, 64, 1024, 1)
    q.codes[77] = 8
    for (let i = 0; i < 3; i++) {
      try {
        kernels.prepack(q)
        expect.unreachable()
      } catch (error) {
        expect(isLowbitError(error, 'LOWBIT_DATA') && error.message).toContain('code 8 at element 77')
      }
    }
  })

  it('uses freed memory again instead of growing', async () => {
    const own = await createWasmKernels({ threads: 1 })
    const q = toyWeights({ name: '', dtype: 'int8' }, 512, 2048, 1)
    const x = toyActivations(1, 2048, 1)
    for (let i = 0; i < 300; i++) {
      using packed = own.prepack(q)
      if (i % 100 === 0) expect(own.matmul(x, packed).data[5]).toBeCloseTo(exactProduct(x, q, undefined, 'int8').values[5] ?? NaN, 2)
    }
    own.dispose()
  })
})
