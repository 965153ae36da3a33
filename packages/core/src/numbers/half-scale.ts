import { roundToFloat16 } from './float16.js'

/** Largest relative error of a normal float16. */
export const HALF_ERROR = 2 ** -11

/** Smallest and largest positive float16. */
export const SMALLEST_HALF = 2 ** -24
export const LARGEST_HALF = 65504

/** The nearest float16 that a scale can be: what would vanish or overflow takes every code of its group with it. */
export function halfScale(scale: number): number {
  const half = roundToFloat16(scale)
  if (half === 0 && scale !== 0) return Math.sign(scale) * SMALLEST_HALF
  return Math.abs(half) > LARGEST_HALF && Number.isFinite(scale) ? Math.sign(scale) * LARGEST_HALF : half
}

/** How the codes of one group are read. */
export interface GroupStep {
  readonly min: number
  readonly max: number
  readonly zero: number
}

/** Chooses the codes of a group again, in place, where its new scale is another step than a rounded one. */
export function recode(codes: Uint8Array | Int8Array | Int16Array | Uint16Array, before: number, after: number, { min, max, zero }: GroupStep): void {
  if (Math.abs(after - before) <= HALF_ERROR * Math.abs(before)) return
  const ratio = after === 0 ? 0 : before / after
  for (let i = 0; i < codes.length; i++) codes[i] = Math.min(max, Math.max(min, Math.round(((codes[i] as number) - zero) * ratio) + zero))
}
