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

/** Nearest level of a rising table. */
function nearest(levels: readonly number[], value: number): number {
  let best = 0
  for (let code = 1; code < levels.length; code++) if (Math.abs((levels[code] as number) - value) < Math.abs((levels[best] as number) - value)) best = code
  return best
}

/** Scales tried, as the level that the extreme of the block comes to lie on, with both signs: the grid is not symmetric. */
const ENDS = Array.from({ length: 25 }, (_, i) => 127 - 2 * (i - 4)).flatMap((end) => [end, -end])

/** IQ4_NL by search: of the scales tried, each then moved to the least squares of its codes, the one of least squared error. */
export const encodeIQ4_NL: EncodeBlock = (x, out) => {
  const levels = tableOf(IQ4_NL)
  const extreme = signedExtreme(x)
  let best = Infinity
  out.scales[0] = 0
  out.codes.fill(7, 0, 32)
  if (extreme === 0) return
  const trial = new Int8Array(32)
  for (const end of ENDS) {
    let d = extreme / end
    for (let pass = 0; pass < 2; pass++) {
      let xl = 0
      let ll = 0
      for (let i = 0; i < 32; i++) {
        const level = levels[nearest(levels, (x[i] as number) / d)] as number
        xl += (x[i] as number) * level
        ll += level * level
      }
      d = roundToFloat16(xl / ll)
      if (d === 0) break
    }
    if (d === 0) continue
    let error = 0
    for (let i = 0; i < 32; i++) {
      const code = nearest(levels, (x[i] as number) / d)
      trial[i] = code
      error += ((x[i] as number) - d * (levels[code] as number)) ** 2
    }
    if (error < best) {
      best = error
      out.scales[0] = d
      out.codes.set(trial)
    }
  }
}
