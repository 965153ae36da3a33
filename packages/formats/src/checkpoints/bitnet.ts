import { LowbitError, type HostTensor } from '@lowbit/core'
import type { GroupedWeight } from './grouped-weight.js'
import { bytesIn, floatsOf, type PartTensors } from './tensors.js'

/** How a model applies `weight_scale`: AutoBitLinear (BitNet b1.58 2B4T) multiplies with it, BitLinear divides by it. */
export type BitnetLinear = 'autobitlinear' | 'bitlinear'

/**
 * A ternary weight of transformers' BitNet: `weight` uint8 `[N/4, K]`, bits 2i of row r hold the code plus one of row `r + i·N/4`; `weight_scale` `[1]`.
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_FORMAT for the code 3.
 */
export function readBitnet(parts: PartTensors, linear: BitnetLinear, thing = 'bitnet'): GroupedWeight {
  const { bytes, shape } = bytesIn(parts, 'weight', [undefined, undefined], thing)
  const [quarter, columns] = shape as [number, number]
  const stored = floatsOf(parts, 'weight_scale', [1], thing)[0] as number
  const scale = linear === 'autobitlinear' ? stored : Math.fround(1 / stored)
  const codes = new Int8Array(4 * quarter * columns)
  for (let i = 0; i < 4; i++) {
    for (let at = 0; at < bytes.length; at++) {
      const code = ((bytes[at] as number) >> (2 * i)) & 3
      if (code === 3) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}.weight`, found: 'a code of 3', expected: '0, 1 or 2: ternary' })
      codes[i * bytes.length + at] = code - 1
    }
  }
  return { shape: [4 * quarter, columns], bits: 2, group: columns, codes, scales: new Float32Array(4 * quarter).fill(scale) }
}

/** Ternary codes in the tensors of transformers' BitNet. @throws LOWBIT_UNSUPPORTED for other codes, more than one scale, N that is no multiple of 4. */
export function writeBitnet(w: GroupedWeight, linear: BitnetLinear, thing = 'bitnet'): Readonly<Record<'weight' | 'weight_scale', HostTensor>> {
  const { shape: [rows, columns], codes, scales } = w
  const refuse = (found: string, expected: string): LowbitError => new LowbitError('LOWBIT_UNSUPPORTED', { thing, found, expected })
  if (!(codes instanceof Int8Array) || codes.some((code) => code < -1 || code > 1)) throw refuse('codes that are not ternary', '-1, 0 and 1')
  const [scale = 1] = scales
  if (scales.some((other) => other !== scale)) throw refuse('several scales', 'one scale for the matrix')
  if (rows % 4 !== 0) throw refuse(`N = ${rows}`, 'a multiple of 4')
  const packed = new Uint8Array((rows / 4) * columns)
  for (let i = 0; i < 4; i++) for (let at = 0; at < packed.length; at++) packed[at] = (packed[at] as number) | (((codes[i * packed.length + at] as number) + 1) << (2 * i))
  return {
    weight: { dtype: 'uint8', shape: [rows / 4, columns], data: packed },
    weight_scale: { dtype: 'float32', shape: [1], data: Float32Array.of(linear === 'autobitlinear' ? scale : 1 / scale) },
  }
}
