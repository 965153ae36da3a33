import { codeRange, decodeFloat16, describeScheme, encodeFloat16, granuleIndex, isIntegerCode, LowbitError, type QTensor, type Scheme } from '@lowbit/core'
import { BlockBuffer, type BlockType } from './blocks/block-type.js'
import { BLOCK_TYPES } from './types.js'

/**
 * One way to hold integer codes in a block type without rounding: with scale s and zero point z of a granule,
 * levels are `multiply · (code - z)` where the type has no minima, else `code` with minimum `z · s`.
 */
export interface CarrierForm {
  /** Levels are this many times `code - z`, and the stored scale so much smaller. */
  readonly multiply: number
  /** Small integer of the scales: `d = s / (multiply · sub)`. */
  readonly sub: number
  /** Small integer of the minima for z = 1: `dmin = s / subMin`. */
  readonly subMin: number
}

const unit: CarrierForm = { multiply: 1, sub: 1, subMin: 1 }
const half: CarrierForm = { ...unit, multiply: 2 }

/** The types that carry codes, and their ways in order of preference: the largest float16 scale first, that keeps its bits longest. */
const CARRIERS = [
  { type: BLOCK_TYPES.TQ1_0, forms: [unit] },
  { type: BLOCK_TYPES.TQ2_0, forms: [unit] },
  { type: BLOCK_TYPES.Q2_K, forms: [unit, { ...unit, subMin: 2 }] },
  { type: BLOCK_TYPES.Q3_K, forms: [unit, half] },
  { type: BLOCK_TYPES.Q4_0, forms: [unit, half] },
  { type: BLOCK_TYPES.Q4_K, forms: [unit, { ...unit, subMin: 2 }] },
  { type: BLOCK_TYPES.Q4_1, forms: [unit] },
  { type: BLOCK_TYPES.Q5_0, forms: [unit, half] },
  { type: BLOCK_TYPES.Q5_K, forms: [unit, { ...unit, subMin: 2 }] },
  { type: BLOCK_TYPES.Q5_1, forms: [unit] },
  { type: BLOCK_TYPES.Q6_K, forms: [unit, half] },
  { type: BLOCK_TYPES.Q8_0, forms: [unit, half] },
] as const satisfies readonly { readonly type: BlockType; readonly forms: readonly CarrierForm[] }[]

export type CarrierType = 'TQ1_0' | 'TQ2_0' | 'Q2_K' | 'Q3_K' | 'Q4_0' | 'Q4_K' | 'Q4_1' | 'Q5_0' | 'Q5_K' | 'Q5_1' | 'Q6_K' | 'Q8_0'

/** Whether a type holds the codes of a scheme as they are. */
export interface Carrier {
  /** `Q4_K`, … */
  readonly type: string
  readonly bitsPerWeight: number
  /** What the scales must be. */
  readonly needs: string
  /** Why not, or not with any zero point; undefined: exactly, with scales as `needs` says. */
  readonly refuses: string | undefined
}

const isHalf = (value: number): boolean => Number.isFinite(value) && decodeFloat16(encodeFloat16(value)) === value

/** Neighbours along K that share scale and zero point under a scheme. */
function granuleLength(scheme: Scheme, shape: readonly number[]): number | undefined {
  const k = shape.at(-1) ?? 0
  const { granularity } = scheme
  if (granularity.kind === 'tensor') return k
  if (granularity.kind === 'channel') return granularity.axis < shape.length - 1 ? k : undefined
  if (granularity.kind === 'group') return granularity.axis === shape.length - 1 ? granularity.size : undefined
  return undefined
}

/** What no data could change: the codes' kind, rows, and which of them share a scale. */
function misplaced(type: BlockType, scheme: Scheme, shape: readonly number[]): string | undefined {
  const k = shape.at(-1) ?? 0
  if (!isIntegerCode(scheme.dtype)) return 'integer codes'
  if (shape.length < 1 || k % type.block !== 0) return `K that is a multiple of ${type.block} (${type.name}); K is ${k}`
  const length = granuleLength(scheme, shape)
  if (length === undefined) return 'one scale a tensor, a row, or a group along K'
  if (length !== k && length % type.block !== 0) return `groups that are multiples of ${type.block} (${type.name})`
  return undefined
}

function tooWide(type: BlockType, scheme: Scheme): string | undefined {
  const { min, max } = codeRange(scheme.dtype)
  const room = type.minima ? type.max : type.max - type.min
  return max - min > room ? `codes of at most ${Math.floor(Math.log2(room + 1))} bits` : undefined
}

/** What the zero points of a scheme could be that a type does not hold, though it holds others. */
function mayRefuse(type: BlockType, scheme: Scheme): string | undefined {
  const { min, max } = codeRange(scheme.dtype)
  if (scheme.symmetric) {
    const middle = middleOf(scheme)
    return !type.minima && (min - middle < type.min || max - middle > type.max) ? `codes from ${type.min} to ${type.max} around the zero point` : undefined
  }
  if (scheme.zeroPoint === 'float') return 'integer zero points, or multiples of 1/2 as they come'
  if (type.minima) return undefined
  return max - min > Math.min(-type.min, type.max) ? 'zero points in the middle of the range only' : undefined
}

/**
 * Which GGUF types hold the codes of a scheme without changing them, smallest first, each with the reason where it does not.
 * {@link packExact} looks at the data and may find that a tensor fits although not every tensor of its scheme would.
 */
export function carriersOf(scheme: Scheme, shape: readonly number[]): readonly Carrier[] {
  return CARRIERS.map(({ type }) => ({ type: type.name, bitsPerWeight: (type.bytes * 8) / type.block, needs: needs(type, scheme), refuses: misplaced(type, scheme, shape) ?? tooWide(type, scheme) ?? mayRefuse(type, scheme) })).sort((a, b) => a.bitsPerWeight - b.bitsPerWeight)
}

const needs = (type: BlockType, scheme: Scheme): string =>
  type.minima && type.twoLevel === undefined && !scheme.symmetric ? 'float16 scales whose products with the zero points are float16 (carriedScale)' : 'float16 scales'

/** One granule's scale and zero point in a form. Answers with the reason if they do not fit. */
function place(type: BlockType, form: CarrierForm, codes: ArrayLike<number>, from: number, scale: number, zero: number, out: BlockBuffer): string | undefined {
  const d = scale / (form.multiply * form.sub)
  if (!isHalf(d)) return `a scale of ${scale}, which is no float16 value${form.multiply * form.sub === 1 ? '' : ` divided by ${form.multiply * form.sub}`}`
  const groups = type.block / type.group
  out.d = d
  out.scales[0] = d
  out.sub.fill(form.sub, 0, groups)
  if (type.twoLevel !== undefined && type.minima) {
    const subMin = form.subMin * zero
    out.dmin = scale / form.subMin
    if (!Number.isInteger(subMin) || subMin < 0 || subMin > type.twoLevel.subMin[1]) return `a zero point of ${zero}`
    if (!isHalf(out.dmin)) return `a scale of ${scale}, which is no float16 value divided by ${form.subMin}`
    out.subMin.fill(subMin, 0, groups)
  } else if (type.minima) {
    const minimum = -zero * scale
    if (!isHalf(minimum)) return `a zero point of ${zero} with scale ${scale}: their product is no float16 value`
    out.minima[0] = minimum
  }
  for (let i = 0; i < type.block; i++) {
    const code = codes[from + i] as number
    const level = type.minima ? code : form.multiply * (code - zero)
    if (!Number.isInteger(level) || level < type.min || level > type.max) return `the code ${code} with zero point ${zero}`
    out.codes[i] = level
  }
  return undefined
}

/** {@link packExact} of unsigned codes in one given form, for what is written elsewhere byte for byte. @returns the reason where a block does not fit. */
export function packForm(type: BlockType, form: CarrierForm, q: QTensor, offset = 0): Uint8Array<ArrayBuffer> | string {
  return pack(type, [form], q, offset)
}

function pack(type: BlockType, forms: readonly CarrierForm[], q: QTensor, offset: number): Uint8Array<ArrayBuffer> | string {
  const granuleOf = granuleIndex(q.scheme.granularity, q.shape)
  const codes = offset === 0 ? q.codes : Int32Array.from(q.codes, (code) => code + offset)
  const middle = q.scheme.symmetric && q.params.zeroPoints === undefined ? middleOf(q.scheme) : 0
  const out = new Uint8Array((codes.length / type.block) * type.bytes)
  const block = new BlockBuffer()
  for (let b = 0; b * type.block < codes.length; b++) {
    const granule = granuleOf(b * type.block)
    const zero = (q.params.zeroPoints?.[granule] ?? middle) + offset
    let reason: string | undefined
    for (const form of forms) {
      reason = place(type, form, codes, b * type.block, q.params.scales[granule] as number, zero, block)
      if (reason === undefined) break
    }
    if (reason !== undefined) return reason
    type.write?.(block, out, b * type.bytes)
  }
  return out
}

/** Zero point of a symmetric scheme: the middle of an unsigned type. */
function middleOf(scheme: Scheme): number {
  const { min, max } = codeRange(scheme.dtype)
  return min < 0 ? 0 : (max + 1) / 2
}

/**
 * A quantized tensor as blocks of a GGUF type, codes, scales and zero points unchanged: what llama.cpp reads is
 * `(code - zero) · scale`, bit for bit.
 * @throws LOWBIT_UNSUPPORTED with the first thing that the type cannot hold.
 */
export function packExact(name: CarrierType, q: QTensor): Uint8Array<ArrayBuffer> {
  const carrier = CARRIERS.find(({ type }) => type.name === name)
  const thing = `${describeScheme(q.scheme)} of shape [${q.shape.join(', ')}] in ${name}`
  if (carrier === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'a type that carries no codes', expected: CARRIERS.map(({ type }) => type.name).join(', ') })
  const reason = misplaced(carrier.type, q.scheme, q.shape)
  if (reason !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'codes that do not fit', expected: reason })
  const { min } = codeRange(q.scheme.dtype)
  const packed = pack(carrier.type, carrier.forms, q, carrier.type.minima ? -min : 0)
  if (typeof packed === 'string') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: packed, expected: 'codes, scales and zero points that the type holds exactly', fix: 'quantize with scales that the format holds, or let the values be rounded again' })
  return packed
}

/** The smallest type that holds a tensor exactly, with its bytes; or the reasons of all. */
export function carryExact(q: QTensor): { readonly type: CarrierType; readonly bytes: Uint8Array<ArrayBuffer> } | { readonly refused: Readonly<Record<string, string>> } {
  const refused: Record<string, string> = {}
  const { min } = codeRange(q.scheme.dtype)
  for (const { type, forms } of [...CARRIERS].sort((a, b) => a.type.bytes / a.type.block - b.type.bytes / b.type.block)) {
    const packed = misplaced(type, q.scheme, q.shape) ?? pack(type, forms, q, type.minima ? -min : 0)
    if (typeof packed !== 'string') return { type: type.name as CarrierType, bytes: packed }
    refused[type.name] = packed
  }
  return { refused }
}

/**
 * The nearest scale that a type carries: float16, and where the minimum is stored as a product (Q4_1, Q5_1) so few significant bits that
 * the product with any zero point of `bits` bits is float16 too (7 for 4 bits).
 */
export function carriedScale(name: CarrierType, scale: number, bits: number): number {
  const kept = name === 'Q4_1' || name === 'Q5_1' ? 11 - bits : 11
  if (scale === 0) return 0
  const step = 2 ** Math.max(Math.floor(Math.log2(Math.abs(scale))) - kept + 1, -24)
  return decodeFloat16(encodeFloat16(Math.round(scale / step) * step))
}
