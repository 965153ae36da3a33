import { isLowbitError, type GroupedTensor, type HostTensor } from '@lowbit/core'
import { toyActivations, toyGrouped } from '@lowbit/core/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createWasmKernels } from '../src/index.js'

const kernels = await createWasmKernels({ threads: 1 })

const matrices = fc.record({
  n: fc.integer({ min: 1, max: 150 }), k: fc.integer({ min: 1, max: 130 }), group: fc.constantFrom(7, 16, 32, 200), minima: fc.boolean(), seed: fc.nat(1e6),
  range: fc.constantFrom<readonly [number, number]>([-1, 1], [0, 3], [-8, 7], [0, 15], [-32, 31], [-128, 127], [0, 255]),
})

/** Rows `from … from + count` of a matrix. */
function part(t: GroupedTensor, from: number, count: number): GroupedTensor {
  const [, columns] = t.shape
  const groups = Math.ceil(columns / t.group)
  return { ...t, shape: [count, columns], codes: t.codes.slice(from * columns, (from + count) * columns), scales: t.scales.slice(from * groups, (from + count) * groups), ...(t.minima === undefined ? {} : { minima: t.minima.slice(from * groups, (from + count) * groups) }) }
}

describe('a matrix packed a few rows at a time', () => {
  it('is the matrix packed whole, whatever the portions', () => {
    fc.assert(fc.property(matrices, fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 8 }), ({ n, k, group, minima, range, seed }, portions) => {
      const t = toyGrouped(n, k, seed, { group, minima, range })
      using packer = kernels.packRows?.([n, k], { group, range, minima })
      for (let from = 0, i = 0; from < n; i++) {
        const count = Math.min(portions[i % portions.length] ?? 1, n - from)
        const rows = part(t, from, count)
        packer?.add(rows)
        // what was given may be used again
        rows.codes.fill(1)
        rows.scales.fill(99)
        from += count
      }
      using packed = packer?.finish()
      using whole = kernels.prepack(t)
      if (packed === undefined) throw new Error('no packer')
      expect(kernels.dequantize(packed).data).toEqual(kernels.dequantize(whole).data)
      const x = toyActivations(3, k, seed)
      for (const activations of ['int8', 'int8-group'] as const) expect(kernels.matmul(x, packed, undefined, { activations }).data).toEqual(kernels.matmul(x, whole, undefined, { activations }).data)
    }), { numRuns: 60 })
  })

  it('takes floats of any kind', () => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      const data = dtype === 'float32' ? Float32Array.from({ length: 13 * 5 }, (_, i) => i / 3) : Uint16Array.from({ length: 13 * 5 }, (_, i) => 0x3c00 + i)
      const w = { dtype, shape: [13, 5], data } as HostTensor<'float32'> | HostTensor<'float16'>
      using packer = kernels.packRows?.([13, 5], { dtype })
      for (const [from, to] of [[0, 9], [9, 13]] as const) packer?.add({ ...w, shape: [to - from, 5], data: data.slice(from * 5, to * 5) } as typeof w)
      using packed = packer?.finish()
      using whole = kernels.prepack(w)
      if (packed === undefined) throw new Error('no packer')
      expect(kernels.dequantize(packed).data).toEqual(kernels.dequantize(whole).data)
    }
  })

  it('refuses rows that do not fit, and gives its memory back', () => {
    const t = toyGrouped(8, 32, 1)
    const refused = (code: string, form: Parameters<NonNullable<typeof kernels.packRows>>[1], rows: GroupedTensor | HostTensor<'float32'> | undefined, shape: readonly [number, number] = [8, 32]): void => {
      using packer = kernels.packRows?.(shape, form)
      try {
        if (rows !== undefined) packer?.add(rows)
        packer?.finish()
        expect.unreachable(code)
      } catch (error) {
        expect(isLowbitError(error, code as 'LOWBIT_SHAPE'), String(error)).toBe(true)
      }
    }
    const form = { group: 32, range: [0, 15], minima: false } as const
    refused('LOWBIT_SHAPE', form, undefined)
    refused('LOWBIT_SHAPE', form, t, [7, 32])
    refused('LOWBIT_SHAPE', form, t, [9, 32])
    refused('LOWBIT_SHAPE', form, t, [8, 31])
    refused('LOWBIT_SHAPE', { ...form, group: 16 }, t)
    refused('LOWBIT_SHAPE', { ...form, minima: true }, t)
    refused('LOWBIT_SHAPE', { dtype: 'float32' }, t)
    refused('LOWBIT_DATA', { ...form, range: [0, 14] }, t)
    refused('LOWBIT_SHAPE', { dtype: 'float32' }, { dtype: 'float32', shape: [2, 32], data: new Float32Array(9) })
    expect(() => kernels.packRows?.([0, 4], form)).toThrow(/LOWBIT_SHAPE/)
    // what was refused lies nowhere: the same room is given out again
    const before = kernels.prepack(t)
    using packer = kernels.packRows?.([8, 32], form)
    packer?.add(t)
    packer?.dispose()
    expect(() => packer?.add(t)).toThrow(/LOWBIT_DISPOSED/)
    expect(kernels.dequantize(before).data).toHaveLength(256)
    before.dispose()
  })
})
