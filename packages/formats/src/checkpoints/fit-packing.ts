import { halfScale, LowbitError, recode } from '@lowbit/core'
import { groupedValues, groupsOf, type GroupedWeight } from './grouped-weight.js'
import { PACKING_RULES, type Packing, type PackingRules } from './packing.js'

/** A weight in a form that a packing holds, and what had to be changed for it beyond writing the same numbers in another way. */
export interface FittedWeight {
  readonly weight: GroupedWeight
  /** In words; absent: the same numbers. */
  readonly changed?: string
}

/** Groups of weights that are rounded anew. */
const GROUP = 64

/**
 * Brings a weight into the form that a packing holds. First by what changes no number: ternary codes with a zero point, minima that are
 * whole steps, fewer bits in more, large groups cut into smaller ones with the same scale. Where that does not do, scales are rounded to
 * float16, or the values are rounded anew, and it is said.
 * @throws LOWBIT_UNSUPPORTED for what cannot become ternary
 */
export function fitPacking(w: GroupedWeight, to: Packing, thing: string): FittedWeight {
  const rules = PACKING_RULES[to]
  if (rules === undefined) {
    if (to !== 'bitnet' || w.codes instanceof Int8Array) return { weight: w }
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `codes of ${w.bits} bits`, expected: 'ternary codes', fix: 'choose another format: a model must be trained for three values' })
  }
  const same = exactForm(w, rules)
  if (same !== undefined) return rules.halfScales ? halfScales(same) : { weight: same }
  const weight = roundAnew(w, rules)
  return { weight, changed: `rounded anew to ${weight.bits} bits in groups of ${weight.group}: ${to} has no ${w.table !== undefined ? 'tables' : w.columns !== undefined ? 'act-order' : w.minima !== undefined ? 'minima between its steps' : `groups of ${w.group}`}` }
}

/** The same numbers as unsigned codes with zero points (or minima), in bits and groups that the packing has. */
function exactForm(w: GroupedWeight, rules: PackingRules): GroupedWeight | undefined {
  if (w.table !== undefined || w.flat === true || (w.columns !== undefined && !rules.actOrder)) return undefined
  const unsigned = w.codes instanceof Int8Array ? { ...w, codes: Uint8Array.from(w.codes, (c) => c + 1), zeroPoints: new Int32Array(w.scales.length).fill(1) } : w
  const bits = rules.bits.find((b) => b >= w.bits)
  if (bits === undefined) return undefined
  // A symmetric code says its middle by its bits: with more of them the zero point stays where it is.
  const zeros = unsigned.zeroPoints ?? (unsigned.minima === undefined ? undefined : wholeZeros(unsigned, bits))
  if (rules.zeroPoints && zeros === undefined) return undefined
  const { shape, group, scales, codes, columns } = unsigned
  if (rules.zeroPoints && zeros !== undefined) return regroup({ shape, group, scales, codes, bits, zeroPoints: zeros, ...(columns === undefined ? {} : { columns }) }, rules)
  return regroup({ ...unsigned, bits }, rules)
}

/** Minima as zero points, if each is a whole number of steps and gives every value bit for bit. */
function wholeZeros({ scales, minima = new Float32Array(0), codes, shape: [rows, columns], group }: GroupedWeight, bits: number): Int32Array | undefined {
  const zeros = Int32Array.from(scales, (scale, g) => (scale === 0 ? 0 : Math.round(-(minima[g] as number) / scale)))
  if (zeros.some((z, g) => z < 0 || z >= 2 ** bits || ((scales[g] as number) === 0 && minima[g] !== 0))) return undefined
  const groups = Math.ceil(columns / group)
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      const g = n * groups + Math.floor(k / group)
      const [scale, code] = [scales[g] as number, codes[n * columns + k] as number]
      if (Math.fround(Math.fround(code * scale) + (minima[g] as number)) !== Math.fround((code - (zeros[g] as number)) * scale)) return undefined
    }
  }
  return zeros
}

/** Groups cut to a size that the packing has; each part keeps scale and zero point. */
function regroup(w: GroupedWeight, { groups: sizes }: PackingRules): GroupedWeight | undefined {
  if (sizes === undefined || sizes.includes(w.group)) return w
  const [rows, columns] = w.shape
  const size = [...sizes].reverse().find((s) => columns % s === 0 && (w.group % s === 0 || w.group >= columns))
  if (size === undefined) return undefined
  const [before, after] = [groupsOf(w), columns / size]
  const spread = <T extends Float32Array | Int32Array>(values: T, make: (length: number) => T): T => {
    const out = make(rows * after)
    for (let n = 0; n < rows; n++) for (let g = 0; g < after; g++) out[n * after + g] = values[n * before + Math.floor((g * size) / w.group)] as number
    return out
  }
  return {
    ...w, group: size, scales: spread(w.scales, (n) => new Float32Array(n)),
    ...(w.zeroPoints === undefined ? {} : { zeroPoints: spread(w.zeroPoints, (n) => new Int32Array(n)) }),
    ...(w.minima === undefined ? {} : { minima: spread(w.minima, (n) => new Float32Array(n)) }),
  }
}

function halfScales(w: GroupedWeight): FittedWeight {
  const scales = w.scales.map((s) => halfScale(s))
  if (scales.every((s, g) => s === w.scales[g])) return { weight: w }
  const [rows, columns] = w.shape
  const groups = groupsOf(w)
  const codes = Uint8Array.from(w.codes)
  for (let g = 0; g < scales.length && g < rows * groups; g++) {
    const from = Math.floor(g / groups) * columns + (g % groups) * w.group
    const part = codes.subarray(from, Math.min(from + w.group, (Math.floor(g / groups) + 1) * columns))
    recode(part, w.scales[g] as number, scales[g] as number, { min: 0, max: 2 ** w.bits - 1, zero: w.zeroPoints?.[g] ?? 0 })
  }
  return { weight: { ...w, scales, codes }, changed: 'scales rounded to float16' }
}

/** Values on a grid from the smallest to the largest of each group, zero among them. */
function roundAnew(w: GroupedWeight, rules: PackingRules): GroupedWeight {
  const [rows, columns] = w.shape
  const bits = rules.bits.find((b) => b >= w.bits) ?? (rules.bits.at(-1) as number)
  const group = rules.groups?.find((s) => columns % s === 0) ?? (columns % GROUP === 0 ? GROUP : columns)
  const values = groupedValues(w)
  const [top, groups] = [2 ** bits - 1, columns / group]
  const codes = new Uint8Array(rows * columns)
  const scales = new Float32Array(rows * groups)
  const zeroPoints = new Int32Array(rows * groups)
  for (let g = 0; g < rows * groups; g++) {
    const slice = values.subarray(g * group, (g + 1) * group)
    const [min, max] = slice.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [0, 0])
    const scale = halfScale((max - min) / top) || 1
    const zero = Math.min(top, Math.max(0, Math.round(-min / scale)))
    scales[g] = scale
    zeroPoints[g] = zero
    slice.forEach((v, i) => { codes[g * group + i] = Math.min(top, Math.max(0, Math.round(v / scale) + zero)) })
  }
  const weight = { shape: w.shape, bits, group, codes, scales }
  return rules.zeroPoints ? { ...weight, zeroPoints } : { ...weight, minima: scales.map((s, g) => -(zeroPoints[g] as number) * s) }
}
