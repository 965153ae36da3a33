import { roundToFloat16 } from '@lowbit/core'
import type { BlockBuffer, BlockType } from '../blocks/block-type.js'
import type { EncodeBlock } from './simple.js'

/** Scale and offset of one group in real numbers: `value = scale · code - minimum`. */
interface Fit {
  scale: number
  minimum: number
  error: number
}

const clamp = (value: number, low: number, high: number): number => (value < low ? low : value > high ? high : value)

/** Half to even, of numbers below 2^51: what is added leaves no room for a fraction. The search spends its time here. */
const ROUNDER = 1.5 * 2 ** 52

/** Steps tried for the range of a group, as shares of it: below 1 the ends clip, above 1 they leave room. */
const SHARES = Array.from({ length: 21 }, (_, i) => 0.7 + 0.02 * i)

/**
 * K-quants by search, without data: for each group the scale (and minimum) of least squared error among those tried, each moved to the
 * least squares of its codes; then the two scales of the super-block, the small integers next to each group's wish, and once more the least
 * squares of the two scales for the codes found.
 */
export function encodeTwoLevel(type: BlockType): EncodeBlock {
  const { group, block, twoLevel } = type
  const groups = block / group
  if (twoLevel === undefined) throw new RangeError(`${type.name} has one level of scales`)
  const wishes = Array.from({ length: groups }, (): Fit => ({ scale: 0, minimum: 0, error: 0 }))
  const best = { d: 0, dmin: 0, codes: new Int8Array(block), sub: new Int8Array(groups), subMin: new Uint8Array(groups) }

  return (x, out) => {
    for (let g = 0; g < groups; g++) fitGroup(type, x, g * group, wishes[g] as Fit)
    let { d, dmin } = startScales(type, wishes)
    let least = Infinity
    for (let pass = 0; pass < 3; pass++) {
      out.d = roundToFloat16(d)
      out.dmin = roundToFloat16(dmin)
      let error = 0
      for (let g = 0; g < groups; g++) error += snapGroup(type, x, g, wishes[g] as Fit, out)
      if (!(error < least)) break
      least = error
      keep(best, out, block, groups)
      ;({ d, dmin } = solveScales(type, x, out))
    }
    out.d = best.d
    out.dmin = best.dmin
    out.codes.set(best.codes)
    out.sub.set(best.sub)
    out.subMin.set(best.subMin)
  }
}

function keep(best: { d: number; dmin: number; codes: Int8Array; sub: Int8Array; subMin: Uint8Array }, out: BlockBuffer, block: number, groups: number): void {
  best.d = out.d
  best.dmin = out.dmin
  best.codes.set(out.codes.subarray(0, block))
  best.sub.set(out.sub.subarray(0, groups))
  best.subMin.set(out.subMin.subarray(0, groups))
}

/** The scale and minimum of least squared error of one group, free of the super-block. */
function fitGroup(type: BlockType, x: Float32Array, from: number, fit: Fit): void {
  let low = Infinity
  let high = -Infinity
  for (let i = from; i < from + type.group; i++) {
    const value = x[i] as number
    if (value < low) low = value
    if (value > high) high = value
  }
  fit.scale = 0
  fit.minimum = type.minima ? Math.max(0, -low) : 0
  fit.error = Infinity
  if (type.minima) {
    const bottom = Math.min(low, 0)
    if (high > bottom) for (const share of SHARES) tryOffset(type, x, from, ((high - bottom) * share) / type.max, -bottom, fit)
  } else {
    const extreme = high > -low ? high : low
    if (extreme !== 0) for (const share of SHARES) for (const end of [type.min, -type.min]) trySymmetric(type, x, from, (extreme * share) / end, fit)
  }
}

function trySymmetric(type: BlockType, x: Float32Array, from: number, start: number, fit: Fit): void {
  const { min, max } = type
  const inverse = 1 / start
  let xl = 0
  let ll = 0
  let xx = 0
  for (let i = from; i < from + type.group; i++) {
    const value = x[i] as number
    const code = clamp(value * inverse + ROUNDER - ROUNDER, min, max)
    xl += value * code
    ll += code * code
    xx += value * value
  }
  const error = ll === 0 ? xx : xx - (xl * xl) / ll
  if (error < fit.error) Object.assign(fit, { scale: ll === 0 ? 0 : xl / ll, minimum: 0, error })
}

function tryOffset(type: BlockType, x: Float32Array, from: number, start: number, minimum: number, fit: Fit): void {
  const { group: n, max } = type
  const inverse = 1 / start
  let [sx, sq, xx, xq, qq] = [0, 0, 0, 0, 0]
  for (let i = from; i < from + n; i++) {
    const value = x[i] as number
    const code = clamp((value + minimum) * inverse + ROUNDER - ROUNDER, 0, max)
    sx += value
    sq += code
    xx += value * value
    xq += value * code
    qq += code * code
  }
  const determinant = n * qq - sq * sq
  let scale = determinant > 0 ? (n * xq - sx * sq) / determinant : 0
  let offset = (scale * sq - sx) / n
  if (offset < 0) {
    // Minima are subtracted and not negative: the best line through the origin.
    offset = 0
    scale = qq > 0 ? xq / qq : 0
  }
  const error = xx + scale * scale * qq + n * offset * offset - 2 * scale * xq + 2 * offset * sx - 2 * scale * offset * sq
  if (scale > 0 && error < fit.error) Object.assign(fit, { scale, minimum: offset, error })
}

/** Scales of the super-block under which the largest wish of a group is the largest small integer. */
function startScales(type: BlockType, wishes: readonly Fit[]): { readonly d: number; readonly dmin: number } {
  const [lowest, highest] = type.twoLevel?.sub ?? [0, 1]
  let extreme = 0
  let deepest = 0
  for (const { scale, minimum } of wishes) {
    if (Math.abs(scale) > Math.abs(extreme)) extreme = scale
    if (minimum > deepest) deepest = minimum
  }
  return { d: extreme / (lowest < 0 ? lowest : highest), dmin: type.minima ? deepest / (type.twoLevel?.subMin[1] ?? 1) : 0 }
}

/** The small integers of a group: those next to its wish with the least error once codes are rounded with them. Leaves its codes in `out`. */
function snapGroup(type: BlockType, x: Float32Array, g: number, wish: Fit, out: BlockBuffer): number {
  const [low, high] = type.twoLevel?.sub ?? [0, 1]
  const deepest = type.twoLevel?.subMin[1] ?? 0
  const sub = out.d === 0 ? 0 : wish.scale / out.d
  const subMin = out.dmin === 0 ? 0 : wish.minimum / out.dmin
  let least = Infinity
  const [s0, m0] = [Math.round(sub), Math.round(subMin)]
  for (let s = Math.max(low, s0 - 1); s <= Math.min(high, s0 + 1); s++) {
    for (let m = clamp(m0 - 1, 0, deepest); m <= clamp(m0 + 1, 0, deepest); m++) {
      const error = groupError(type, x, g, out.d * s, out.dmin * m, least)
      if (error < least) {
        least = error
        out.sub[g] = s
        out.subMin[g] = m
      }
    }
  }
  const scale = out.d * (out.sub[g] as number)
  const minimum = out.dmin * (out.subMin[g] as number)
  for (let i = g * type.group; i < (g + 1) * type.group; i++) out.codes[i] = codeOf(type, x[i] as number, scale, minimum)
  return least
}

function codeOf(type: BlockType, value: number, scale: number, minimum: number): number {
  return scale === 0 ? 0 : clamp((value + minimum) / scale + ROUNDER - ROUNDER, type.min, type.max)
}

/** Squared error of a group under a scale and minimum; no more than needed is summed once it is past `enough`. */
function groupError(type: BlockType, x: Float32Array, g: number, scale: number, minimum: number, enough: number): number {
  const { min, max, group } = type
  const inverse = scale === 0 ? 0 : 1 / scale
  let error = 0
  for (let i = g * group; i < (g + 1) * group && error < enough; i++) {
    const value = (x[i] as number) + minimum
    const difference = value - scale * clamp(value * inverse + ROUNDER - ROUNDER, min, max)
    error += difference * difference
  }
  return error
}

/** Least squares of the two scales for given codes and small integers. */
function solveScales(type: BlockType, x: Float32Array, out: BlockBuffer): { readonly d: number; readonly dmin: number } {
  let [aa, ab, bb, xa, xb] = [0, 0, 0, 0, 0]
  for (let i = 0; i < type.block; i++) {
    const g = Math.floor(i / type.group)
    const a = (out.sub[g] as number) * (out.codes[i] as number)
    const b = -(out.subMin[g] as number)
    const value = x[i] as number
    aa += a * a
    ab += a * b
    bb += b * b
    xa += value * a
    xb += value * b
  }
  const determinant = aa * bb - ab * ab
  if (!type.minima || bb === 0 || determinant <= 0) return { d: aa === 0 ? out.d : xa / aa, dmin: out.dmin }
  const dmin = (aa * xb - ab * xa) / determinant
  return dmin < 0 ? { d: xa / aa, dmin: 0 } : { d: (xa * bb - xb * ab) / determinant, dmin }
}
