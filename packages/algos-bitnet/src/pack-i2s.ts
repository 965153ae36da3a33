import type { Layout, QTensor } from '@lowbit/core'
import { byteBuffer, expectFits } from '@lowbit/core'
import { refusesAllButTernary, ternaryLevels } from './ternary-layout.js'

/**
 * The three layouts that bitnet.cpp has under one type number; a file does not say which one it holds.
 * - `x86` (ACT_PARALLEL, its default): 128 weights in 32 bytes, weight 32·i + j in byte j.
 * - `arm`: 64 weights in 16 bytes, the same way.
 * - `x86-1x4`: four rows in a byte.
 * The first part lies in the top two bits.
 */
export type I2SVariant = 'x86' | 'arm' | 'x86-1x4'

/** Bytes after the codes: one float32 scale and padding. */
const TAIL = 32

/** Byte and shift of each weight of a matrix. */
function places(variant: I2SVariant, k: number): (row: number, column: number) => { readonly byte: number; readonly shift: number } {
  if (variant === 'x86-1x4') return (row, column) => ({ byte: Math.floor(row / 4) * k + column, shift: 6 - 2 * (row % 4) })
  const lane = variant === 'x86' ? 32 : 16
  return (row, column) => {
    const at = row * k + column
    const within = at % (4 * lane)
    return { byte: Math.floor(at / (4 * lane)) * lane + (within % lane), shift: 6 - 2 * Math.floor(within / lane) }
  }
}

/** ggml's I2_S as bitnet.cpp writes it: N·K/4 bytes of `code + 1`, then one float32 scale, padded to 32 bytes. */
export function i2s(variant: I2SVariant = 'x86'): Layout {
  const layout: Layout = {
    name: `ggml-i2_s-${variant}`,
    refuses(scheme, shape) {
      const reason = refusesAllButTernary(scheme, shape)
      if (reason !== undefined) return reason
      if (variant === 'x86-1x4') return shape[0] % 4 === 0 ? undefined : 'N that is a multiple of 4'
      const block = variant === 'x86' ? 128 : 64
      return shape[1] % block === 0 ? undefined : `K that is a multiple of ${block}`
    },
    size: (_, shape) => (shape[0] * shape[1]) / 4 + TAIL,
    pack(q) {
      expectFits(layout, q)
      const [n, k] = q.shape
      const place = places(variant, k)
      const levels = ternaryLevels(q)
      const bytes = new Uint8Array((n * k) / 4 + TAIL)
      for (let row = 0; row < n; row++) {
        for (let column = 0; column < k; column++) {
          const { byte, shift } = place(row, column)
          bytes[byte] |= levels[row * k + column] << shift
        }
      }
      new DataView(bytes.buffer).setFloat32((n * k) / 4, q.params.scales[0], true)
      return { layout: layout.name, scheme: q.scheme, shape: q.shape, buffers: { bytes } }
    },
    unpack(packed): QTensor {
      expectFits(layout, packed)
      const [n, k] = packed.shape
      const bytes = byteBuffer(packed, 'bytes', (n * k) / 4 + TAIL)
      const place = places(variant, k)
      const codes = Int8Array.from({ length: n * k }, (_, at) => {
        const { byte, shift } = place(Math.floor(at / k), at % k)
        return ((bytes[byte] >> shift) & 3) - 1
      })
      const scale = new DataView(bytes.buffer, bytes.byteOffset).getFloat32((n * k) / 4, true)
      return { scheme: packed.scheme, shape: packed.shape, codes, params: { scales: Float32Array.of(scale), shape: [] } }
    },
  }
  return layout
}
