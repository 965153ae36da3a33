import { describe, expect, it } from 'vitest'
import { dequantize, type QTensor } from '@lowbit/core'
import { BLOCK_TYPES, carryTwoLevel, dequantizeBlocks, onTwoLevels, quantizeBlocks, twoLevelScheme, twoLevelTypeOf, type TwoLevelType } from '@lowbit/formats/gguf'

const TYPES: readonly TwoLevelType[] = ['Q2_K', 'Q3_K', 'Q4_K']

/** Rows of very different sizes, one of zeros, one without negative values. */
function rows(columns: number): Float32Array {
  return Float32Array.from({ length: 8 * columns }, (_, i) => {
    const row = Math.floor(i / columns)
    const wave = Math.sin(i * 1.7) + 0.3 * Math.sin(i * 0.37)
    return row === 5 ? 0 : row === 6 ? Math.abs(wave) : wave * 10 ** (row - 3)
  })
}

describe('codes on the two levels of a K-quant', () => {
  it.each(TYPES)('%s: the blocks that the codes came from, bit for bit', (type) => {
    const x = rows(512)
    const q = onTwoLevels(type, x, [8, 512])
    expect(twoLevelTypeOf(q.scheme)).toBe(type)
    const carried = carryTwoLevel(q)
    expect(carried?.type).toBe(type)
    const own = dequantizeBlocks(BLOCK_TYPES[type], carried?.bytes ?? new Uint8Array())
    expect(own).toEqual(dequantizeBlocks(BLOCK_TYPES[type], quantizeBlocks(type, x)))
    const values = dequantize(q).data
    expect(values.every((v, i) => Math.abs(v - own[i]) <= 4e-6 * (Math.abs(own[i]) + Math.abs(x[i]) + 1e-30))).toBe(true)
  })

  it.each(TYPES)('%s: other codes on the same scales are carried as they are', (type) => {
    const q = onTwoLevels(type, rows(256), [8, 256])
    const other: QTensor = { ...q, codes: q.codes.map((_, i) => (q.scheme.symmetric ? (i % 7) - 3 : i % 4)) as QTensor['codes'] }
    expect([...(carryTwoLevel(other)?.tensor.codes ?? [])]).toEqual([...other.codes])
  })

  it('are not found for scales that lie anywhere, nor for other schemes', () => {
    const q = onTwoLevels('Q4_K', rows(256), [8, 256])
    const anywhere = { ...q, params: { ...q.params, scales: q.params.scales.map((s, i) => s * (1 + 0.01 * Math.sin(i))) } }
    expect(carryTwoLevel(anywhere)).toBeUndefined()
    expect(carryTwoLevel({ ...q, scheme: { ...q.scheme, dtype: 'uint8' } })).toBeUndefined()
    expect(twoLevelTypeOf({ ...twoLevelScheme('Q4_K'), symmetric: true })).toBeUndefined()
  })
})
