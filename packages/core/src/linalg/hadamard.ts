import { LowbitError } from '../errors.js'
import { wholly, type Slices } from '../slices/slices.js'

/** Elements that are turned between two cuts. */
const ROWS_PIECE = 2 ** 17

/** Orders that are not powers of two come from Paley's constructions: order → the prime behind it. */
const PALEY = { 12: { prime: 11, kind: 1 }, 20: { prime: 19, kind: 1 }, 28: { prime: 13, kind: 2 } } as const

/** A Hadamard order `base · power`, `power` a power of two. */
export interface HadamardOrder {
  readonly base: 1 | 12 | 20 | 28
  readonly power: number
}

/** Splits an order into `base · 2^k`, or `undefined` if no construction here makes a Hadamard matrix of it. */
export function hadamardOrder(order: number): HadamardOrder | undefined {
  if (!Number.isInteger(order) || order < 1) return undefined
  for (const base of [1, 12, 20, 28] as const) {
    const power = order / base
    if (Number.isInteger(power) && power >= 1 && power <= 2 ** 30 && (power & (power - 1)) === 0) return { base, power }
  }
  return undefined
}

/** The largest order that divides `channels`: a rotation turns blocks of that many neighbours. 1 for an odd number. */
export function largestHadamardBlock(channels: number): number {
  for (let blocks = 1; blocks <= channels; blocks++) {
    if (channels % blocks === 0 && hadamardOrder(channels / blocks) !== undefined) return channels / blocks
  }
  return 1
}

/**
 * Hadamard matrix `[order, order]`, entries ±1, `H Hᵀ = order · I`: base ⊗ Sylvester.
 * Bases 12 and 20: Paley I, `I + S`; base 28: Paley II. Not symmetric for those: the inverse is the transpose over the order.
 * @throws LOWBIT_UNSUPPORTED for an order that is not 2^k, 12·2^k, 20·2^k or 28·2^k.
 */
export function hadamardMatrix(order: number): Int8Array {
  const { base, power } = orderOf(order)
  const b = baseMatrix(base)
  const h = new Int8Array(order * order)
  for (let i = 0; i < order; i++) {
    for (let j = 0; j < order; j++) {
      const sylvester = parity((i % power) & (j % power)) === 0 ? 1 : -1
      h[i * order + j] = b[Math.floor(i / power) * base + Math.floor(j / power)] * sylvester
    }
  }
  return h
}

/**
 * `y = H x / sqrt(order)` for every block of `order` neighbours, in place: O(n log n) for powers of two, times the base otherwise.
 * `transposed` gives the inverse.
 */
export function hadamardTransform(data: Float32Array | Float64Array, order: number, transposed = false): void {
  const { base, power } = orderOf(order)
  if (data.length % order !== 0) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'Hadamard transform', found: `${data.length} values`, expected: `a multiple of the order ${order}` })
  }
  const b = baseMatrix(base)
  const scale = 1 / Math.sqrt(order)
  const block = new Float64Array(order)
  const mixed = new Float64Array(base)
  for (let from = 0; from < data.length; from += order) {
    for (let i = 0; i < order; i++) block[i] = data[from + i]
    for (let half = 1; half < power; half *= 2) {
      for (let i = 0; i < order; i += 2 * half) {
        for (let j = i; j < i + half; j++) {
          const x = block[j]
          const y = block[j + half]
          block[j] = x + y
          block[j + half] = x - y
        }
      }
    }
    for (let s = 0; s < power; s++) {
      for (let i = 0; i < base; i++) {
        let sum = 0
        for (let j = 0; j < base; j++) sum += (transposed ? b[j * base + i] : b[i * base + j]) * block[j * power + s]
        mixed[i] = sum
      }
      for (let i = 0; i < base; i++) data[from + i * power + s] = mixed[i] * scale
    }
  }
}

/**
 * The randomised rotation of a row: `y = H (signs ∘ x) / sqrt(order)`, in blocks of `order` neighbours, in place.
 * Activations and weight columns are turned alike, so their product stays. `data` is `[rows, signs.length]`.
 * @throws LOWBIT_SHAPE if the order does not divide the channels, LOWBIT_UNSUPPORTED for an order without a construction.
 */
export function rotateRows(data: Float32Array | Float64Array, signs: Int8Array, order: number): void {
  wholly(rotateRowSlices(data, signs, order))
}

/** {@link rotateRows} in slices: rows do not see each other. */
export function* rotateRowSlices(data: Float32Array | Float64Array, signs: Int8Array, order: number): Slices<void> {
  const channels = signs.length
  if (channels % order !== 0 || data.length % channels !== 0) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'rotation', found: `order ${order}, ${channels} signs, ${data.length} values`, expected: 'an order that divides the channels, and whole rows' })
  }
  const step = Math.max(1, Math.floor(ROWS_PIECE / channels)) * channels
  for (let from = 0; from < data.length; from += step) {
    const part = data.subarray(from, from + step)
    for (let i = 0; i < part.length; i++) if (signs[i % channels] < 0) part[i] = -part[i]
    hadamardTransform(part, order)
    yield
  }
}

function orderOf(order: number): HadamardOrder {
  const found = hadamardOrder(order)
  if (found === undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'Hadamard transform', found: `order ${order}`, expected: '2^k, 12·2^k, 20·2^k or 28·2^k', fix: 'rotate blocks of an order that divides the channels' })
  }
  return found
}

const parity = (x: number): number => {
  let bits = 0
  for (; x !== 0; x &= x - 1) bits ^= 1
  return bits
}

function baseMatrix(base: 1 | 12 | 20 | 28): Int8Array {
  if (base === 1) return Int8Array.of(1)
  const { prime, kind } = PALEY[base]
  const core = conference(prime, kind === 1 ? -1 : 1)
  const n = prime + 1
  if (kind === 1) return core.map((v, i) => (i % (n + 1) === 0 ? v + 1 : v))
  const h = new Int8Array(base * base)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const v = core[i * n + j]
      const cell = v === 0 ? [1, -1, -1, -1] : [v, v, v, -v]
      for (let k = 0; k < 4; k++) h[(2 * i + (k >> 1)) * base + 2 * j + (k & 1)] = cell[k]
    }
  }
  return h
}

/** `[[0, 1], [corner, Q]]`, Q the Legendre symbols of `i - j`. */
function conference(prime: number, corner: 1 | -1): Int8Array {
  const n = prime + 1
  const squares = new Set(Array.from({ length: prime - 1 }, (_, i) => ((i + 1) * (i + 1)) % prime))
  const c = new Int8Array(n * n)
  for (let i = 1; i < n; i++) {
    c[i] = 1
    c[i * n] = corner
    for (let j = 1; j < n; j++) {
      const d = (i - j + prime) % prime
      c[i * n + j] = d === 0 ? 0 : squares.has(d) ? 1 : -1
    }
  }
  return c
}
