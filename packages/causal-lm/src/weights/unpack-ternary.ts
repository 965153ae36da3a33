import { LowbitError, type QTensor } from '@lowbit/core'

/**
 * A BitNet matrix as Hugging Face packs it, four rows a byte: with R = ceil(N / 4), byte `[r, k]` holds `code + 1` of rows r,
 * r + R, r + 2R, r + 3R, low bits first.
 * @param scale what codes are multiplied by
 * @throws LOWBIT_DATA for a slot that holds 3
 */
export function unpackTernary(bytes: Uint8Array, shape: readonly [number, number], scale: number, thing: string): QTensor {
  const [n, k] = shape
  const packed = Math.ceil(n / 4)
  const codes = new Int8Array(n * k)
  for (let row = 0; row < n; row++) {
    const shift = 2 * Math.floor(row / packed)
    const from = (row % packed) * k
    for (let i = 0; i < k; i++) {
      const slot = (bytes[from + i] >> shift) & 3
      if (slot === 3) throw new LowbitError('LOWBIT_DATA', { thing: `tensor '${thing}'`, found: `slot 3 at row ${row}, column ${i}`, expected: '0 to 2: ternary weights' })
      codes[row * k + i] = slot - 1
    }
  }
  return { scheme: { dtype: 'ternary', granularity: { kind: 'tensor' }, symmetric: true }, shape, codes, params: { scales: Float32Array.of(scale), shape: [] } }
}
