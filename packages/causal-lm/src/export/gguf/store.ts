import { bitsOf, dequantize, describeScheme, isIntegerCode, LowbitError, partOf, type Acceptance, type QTensor, type Scheme, type Site, type WeightPart } from '@lowbit/core'
import { carriedScale, carriersOf, carryExact, carryTwoLevel, onTwoLevels, twoLevelTypeOf, type BlockTensor, type CarrierType } from '@lowbit/formats/gguf'
import type { StoredWeight } from '../lm-format.js'
import { withScales } from '../with-scales.js'

/** What GGUF holds of a weight: blocks of a type, in the order of the model's rows. */
export interface GgufStored extends StoredWeight {
  readonly type: string
  readonly bytes: Uint8Array
}

/**
 * Whether some type of GGUF holds the codes of a scheme.
 *
 * llama.cpp falls back to another type without a word where K is no multiple of 256; here the reason is given, and what would fit.
 */
export function ggufAccepts({ weight: { rows, columns } }: Site, scheme: Scheme): Acceptance {
  const kQuant = twoLevelTypeOf(scheme)
  if (kQuant !== undefined) {
    if (columns % 256 === 0) return { ok: true }
    const [form, instead] = columns % 32 !== 0 ? ['nothing'] : kQuant === 'Q4_K' ? (['Q4_1', OFFSET] as const) : (['Q4_0', PLAIN] as const)
    return { ok: false, reason: `${kQuant} needs K to be a multiple of 256, and K is ${columns}: ${form} fits`, ...(instead === undefined ? {} : { instead }) }
  }
  const carriers = carriersOf(scheme, [rows, columns])
  if (carriers.some((c) => c.refuses === undefined) || isOddlyPlaced(scheme, columns)) return { ok: true }
  const needs = [...new Set(carriers.map((c) => c.refuses))].filter((r) => r !== undefined)
  return { ok: false, reason: columns % 32 === 0 ? `no type of GGUF holds ${describeScheme(scheme)}: they need ${needs.join('; or ')}` : `GGUF's blocks need K to be a multiple of 32, and K is ${columns}` }
}

/** What takes the place of a K-quant. */
const PLAIN: Scheme = { dtype: 'int4', granularity: { kind: 'group', axis: 1, size: 32 }, symmetric: true }
const OFFSET: Scheme = { ...PLAIN, dtype: 'uint4', symmetric: false }

/** Asymmetric groups: a product of scale and zero point must be a float16 value, which scales of fewer digits make sure of. */
function isOddlyPlaced(scheme: Scheme, columns: number): boolean {
  return !scheme.symmetric && scheme.zeroPoint !== 'float' && isIntegerCode(scheme.dtype) && bitsOf(scheme.dtype) <= 5 && columns % 32 === 0 && groupsOf32(scheme, columns)
}

function groupsOf32({ granularity }: Scheme, columns: number): boolean {
  if (granularity.kind === 'group') return granularity.axis === 1 && (granularity.size % 32 === 0 || granularity.size >= columns)
  return granularity.kind === 'tensor' || (granularity.kind === 'channel' && granularity.axis === 0)
}

/**
 * The smallest type that holds codes, scales and zero points. What no type holds exactly gets scales that one does: float16, of
 * fewer digits beside zero points (Q4_1, Q5_1); a code is chosen again only where its scale moved by more than a rounding.
 * @throws LOWBIT_UNSUPPORTED naming what fits nowhere
 */
export function storeGguf(q: QTensor, thing: string): GgufStored {
  const kQuant = twoLevelTypeOf(q.scheme)
  const [rows = 0, columns = 0] = q.shape
  if (kQuant !== undefined && columns % 256 === 0) {
    const carried = carryTwoLevel(q)
    if (carried !== undefined) return inLevels(carried, q)
    const moved = carryTwoLevel(onTwoLevels(kQuant, dequantize(q).data, [rows, columns], thing))
    if (moved !== undefined) return { ...inLevels(moved, q), reason: `rounded again onto the two-level scales of ${kQuant}` }
  }
  const exact = carryExact(q)
  if ('type' in exact) return stored(exact, q)
  const reasons = { ...exact.refused }
  const candidates: GgufStored[] = []
  for (const type of SCALE_TYPES) {
    const moved = withScales(q, (scale) => carriedScale(type, scale, bitsOf(q.scheme.dtype)))
    const carried = carryExact(moved)
    // float16 is what every type has; fewer digits are worth a word.
    if ('type' in carried) candidates.push({ ...stored(carried, moved), ...(type === 'Q4_0' ? {} : { reason: `scales of ${11 - bitsOf(q.scheme.dtype)} binary digits, so that ${carried.type} holds them with their zero points` }) })
    else Object.assign(reasons, carried.refused)
  }
  const [smallest] = candidates.sort((a, b) => a.bytes.length - b.bytes.length)
  if (smallest !== undefined) return smallest
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `codes that no type of GGUF holds: ${Object.entries(reasons).slice(0, 4).map(([type, why]) => `${type} needs ${why}`).join('; ')}`, expected: 'int4 in groups of 32, int8, uint4 …' })
}

function stored({ type, bytes }: { readonly type: CarrierType; readonly bytes: Uint8Array }, q: QTensor): GgufStored {
  return { type, form: type, bytes, parts: [partOf(q)], tensors: [blocks(type, q, bytes)] }
}

function inLevels({ type, bytes, tensor: { codes, group, twoLevel } }: { readonly type: string; readonly bytes: Uint8Array; readonly tensor: BlockTensor }, q: QTensor): GgufStored {
  const [rows = 0, columns = 0] = q.shape
  if (twoLevel === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: type, found: 'one level of scales' })
  const { d, subScales, dmin, subMinima } = twoLevel
  const outer = [rows, columns / 256]
  const inner = [rows, columns / group]
  const part: WeightPart = {
    kind: 'two-level', group, superGroup: 256 / group,
    codes: { dtype: 'int8', shape: q.shape, data: codes },
    scales: { dtype: 'int8', shape: inner, data: subScales },
    superScales: { dtype: 'float32', shape: outer, data: d },
    ...(dmin === undefined || subMinima === undefined ? {} : { minima: { dtype: 'uint8', shape: inner, data: subMinima }, superMinima: { dtype: 'float32', shape: outer, data: dmin } }),
  }
  return { type, form: type, bytes, parts: [part], tensors: [blocks(type, q, bytes)] }
}

const blocks = (type: string, { shape }: QTensor, bytes: Uint8Array): StoredWeight['tensors'][number] => ({ role: 'blocks', type, shape, bytes: bytes.length })

/** What scales are rounded as: float16, or fewer digits beside minima. */
const SCALE_TYPES = ['Q4_0', 'Q4_1', 'Q5_1'] as const
