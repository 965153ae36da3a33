import { LowbitError } from '@lowbit/core'
import type { GroupedWeight } from '../checkpoints/grouped-weight.js'
import type { BlockTensor } from './block-tensor.js'

/** Bits of the codes that the packed checkpoints know, widest code first. */
const WIDTHS = [[3, 2], [7, 3], [15, 4], [255, 8]] as const

/**
 * A tensor of blocks as a weight that other checkpoint formats hold: codes made unsigned, with integer zero points, or minima where the blocks have
 * them. Nothing is rounded.
 * @throws LOWBIT_UNSUPPORTED for levels of a table, LOWBIT_SHAPE for what is no matrix.
 */
export function blocksToGrouped(t: BlockTensor): GroupedWeight {
  const [rows, columns] = t.shape
  if (t.shape.length !== 2 || rows === undefined || columns === undefined) throw new LowbitError('LOWBIT_SHAPE', { thing: `ggml ${t.type}`, found: `[${t.shape.join(', ')}]`, expected: 'a matrix [N, K]' })
  if (t.table !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `ggml ${t.type}`, found: 'levels of a table', expected: 'integer codes with a scale', fix: 'quantize its values again' })
  let [low, high] = [0, 0]
  for (const code of t.codes) {
    if (code < low) low = code
    if (code > high) high = code
  }
  const bits = WIDTHS.find(([top]) => Math.max(-low * 2 - 1, high - low) <= top && high < (low < 0 ? (top + 1) / 2 : top + 1))?.[1] ?? 8
  const middle = low < 0 ? 2 ** (bits - 1) : 0
  const base = { shape: [rows, columns] as const, bits, group: t.group, codes: Uint8Array.from(t.codes, (code) => code + middle), scales: t.scales }
  return t.minima === undefined ? { ...base, zeroPoints: new Int32Array(t.scales.length).fill(middle) } : { ...base, minima: t.minima }
}
