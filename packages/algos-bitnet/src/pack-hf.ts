import type { Layout, QTensor, Scheme } from '@lowbit/core'
import { byteBuffer, expectFits, floatBuffer } from '@lowbit/core'
import { refusesAllButTernary, ternaryLevels } from './ternary-layout.js'

/**
 * Hugging Face's packing of BitNet checkpoints, along the output axis: with R = ceil(N/4) rows of bytes, byte `[r, k]` holds
 * `code + 1` of rows r, r + R, r + 2R, r + 3R, low bits first. Slots past N are 0 (and unpack to -1 there).
 */
export const hfTernary: Layout = {
  name: 'hf-bitnet',
  refuses: (scheme: Scheme, shape: readonly number[]) => refusesAllButTernary(scheme, shape),
  size: (_, shape) => Math.ceil(shape[0] / 4) * shape[1] + 4,
  pack(q) {
    expectFits(hfTernary, q)
    const [n, k] = q.shape
    const rows = Math.ceil(n / 4)
    const levels = ternaryLevels(q)
    const codes = new Uint8Array(rows * k)
    for (let row = 0; row < n; row++) {
      const shift = 2 * Math.floor(row / rows)
      for (let i = 0; i < k; i++) codes[(row % rows) * k + i] |= levels[row * k + i] << shift
    }
    return { layout: hfTernary.name, scheme: q.scheme, shape: q.shape, buffers: { codes, scales: q.params.scales.slice() } }
  },
  unpack(packed): QTensor {
    expectFits(hfTernary, packed)
    const [n, k] = packed.shape
    const rows = Math.ceil(n / 4)
    const bytes = byteBuffer(packed, 'codes', rows * k)
    const codes = Int8Array.from({ length: n * k }, (_, at) => {
      const row = Math.floor(at / k)
      return ((bytes[(row % rows) * k + (at % k)] >> (2 * Math.floor(row / rows))) & 3) - 1
    })
    return { scheme: packed.scheme, shape: packed.shape, codes, params: { scales: floatBuffer(packed, 'scales', 1).slice(), shape: [] } }
  },
}
