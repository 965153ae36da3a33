import { exponentOf, roundToFloat16 } from '@lowbit/core'
import type { BlockType } from '../blocks/block-type.js'
import { IQ4_NL, MXFP4 } from '../blocks/tables.js'
import { signedExtreme, type EncodeBlock } from './simple.js'

const tableOf = (type: BlockType): readonly number[] => type.table ?? []

/** ggml's MXFP4, unlike MX and ml_dtypes: a tie goes to the smaller magnitude, and -0 is never written. */
export const encodeMxfp4: EncodeBlock = (x, out) => {
  const levels = tableOf(MXFP4)
  const top = Math.abs(signedExtreme(x))
  const scale = 2 ** ((top === 0 ? 0 : Math.max(exponentOf(top) - 2 + 127, 0)) - 128)
  out.scales[0] = scale
  for (let i = 0; i < x.length; i++) {
    const magnitude = Math.abs(x[i] as number)
    let best = 0
    for (let code = 1; code < 8; code++) if (Math.abs((levels[code] as number) * scale - magnitude) < Math.abs((levels[best] as number) * scale - magnitude)) best = code
    out.codes[i] = (x[i] as number) < 0 && best > 0 ? best | 8 : best
  }
}

const LEVELS = tableOf(IQ4_NL)
/** Code of the nearest level of IQ4 by half steps: a value v has `2v + 256`. Middles between levels are whole half steps. */
const NEAREST = Uint8Array.from({ length: 513 }, (_, i) => {
  const value = (i + 0.5 - 256) / 2
  return LEVELS.reduce((best, level, code) => (Math.abs(level - value) < Math.abs((LEVELS[best] as number) - value) ? code : best), 0)
})
const nearest = (value: number): number => NEAREST[Math.min(512, Math.max(0, Math.floor(2 * value + 256)))] as number

/** Scales tried, as the level that the extreme of the block comes to lie on, with both signs: the grid is not symmetric. */
const ENDS = Array.from({ length: 13 }, (_, i) => 137 - 5 * i).flatMap((end) => [end, -end])

/** IQ4_NL by search: of the scales tried, each then moved to the least squares of its codes, the one of least squared error. */
export const encodeIQ4_NL: EncodeBlock = (x, out) => {
  const extreme = signedExtreme(x)
  let best = Infinity
  out.scales[0] = 0
  out.codes.fill(7, 0, 32)
  if (extreme === 0) return
  for (const end of ENDS) {
    const d = solveScale(x, extreme / end)
    if (d === 0) continue
    const inverse = 1 / d
    let error = 0
    for (let i = 0; i < 32 && error < best; i++) {
      const difference = (x[i] as number) - d * (LEVELS[nearest((x[i] as number) * inverse)] as number)
      error += difference * difference
    }
    if (error < best) {
      best = error
      out.scales[0] = d
    }
  }
  const inverse = out.scales[0] === 0 ? 0 : 1 / (out.scales[0] as number)
  for (let i = 0; i < 32; i++) out.codes[i] = nearest((x[i] as number) * inverse)
}

/** The least squares scale of the codes that a scale gives, twice over; a float16 value. */
function solveScale(x: Float32Array, start: number): number {
  let d = start
  for (let pass = 0; pass < 2; pass++) {
    const inverse = 1 / d
    let xl = 0
    let ll = 0
    for (const value of x) {
      const level = LEVELS[nearest(value * inverse)] as number
      xl += value * level
      ll += level * level
    }
    d = xl / ll
    if (roundToFloat16(d) === 0) return 0
  }
  return roundToFloat16(d)
}
