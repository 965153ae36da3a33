import { overGranules, type Granules, type Slices } from '@lowbit/core'

/** Settings of the half-quadratic loop, with the names of the authors' code. */
export interface HqqSettings {
  /** p of the norm. */
  readonly lpNorm: number
  /** Weight of the quadratic term in the first round. */
  readonly beta: number
  /** Factor of beta from round to round. */
  readonly kappa: number
  /** Rounds at most. */
  readonly iterations: number
  /**
   * Zero points kept when a round is no better: `best` those of the best round, `last` those of this one, one more update included.
   * Where the rounds run out before that, the last update is kept either way.
   */
  readonly keep: 'best' | 'last'
  /** Whether the first zero points are rounded. */
  readonly start: 'exact' | 'rounded'
  /** Elements that a short last group is filled up to with zeros, which take part in its range and its mean; 0 for none. */
  readonly padTo: number
}

export interface HqqParams {
  /** 1 / scale of each granule. */
  readonly inverse: Float64Array
  /** Zero point of each granule, in unsigned codes. */
  readonly zero: Float64Array
  readonly iterations: number
  /** mean|w - ŵ| over the matrix in the first round. */
  readonly startError: number
  /** The least of all rounds. */
  readonly error: number
}

/** 1.5 · 2^52: adding and taking it away rounds half to even. Inlined because it runs once a weight and round. */
const SHIFT = 6755399441055744

/**
 * Half-quadratic optimization of float zero points (Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning
 * Models", 2023, eq. 3 to 6): the residual is shrunk towards an l_p norm, the zero point follows as a mean. Scales stay.
 * @param afterRound called once a round: progress
 */
export function* optimizeZeros(w: Float32Array, granules: Granules, top: number, settings: HqqSettings, afterRound: (round: number) => void): Slices<HqqParams> {
  const { lpNorm, kappa, iterations, keep, padTo } = settings
  const inverse = new Float64Array(granules.count)
  const zero = new Float64Array(granules.count)
  yield* overGranules(granules, (start, end) => startingPoint(w, granules, top, settings, inverse, zero, start, end))
  let best = zero.slice()
  const next = new Float64Array(granules.count)
  const seen: Seen = { distance: new Float64Array(granules.count), reach: new Float64Array(granules.count).fill(Infinity) }
  let beta = settings.beta
  let startError = 0
  let error = Infinity
  let rounds = 0
  while (rounds < iterations) {
    const sums: Sums = { total: 0, count: 0 }
    yield* overGranules(granules, (start, end) => halfQuadraticRound(w, granules, top, inverse, zero, next, seen, lpNorm, beta, padTo, sums, start, end), PIECE)
    const measured = sums.count === 0 ? 0 : sums.total / sums.count
    beta *= kappa
    if (rounds === 0) startError = measured
    rounds++
    afterRound(rounds)
    const improved = measured < error
    if (improved) {
      error = measured
      best = zero.slice()
    }
    zero.set(next)
    if (!improved) {
      if (keep === 'best') zero.set(best)
      break
    }
  }
  return { inverse, zero, iterations: rounds, startError, error }
}

/** Round-to-nearest's range with a float zero point: it need not hold 0. The limits are those of the authors' code. */
function startingPoint(w: Float32Array, granules: Granules, top: number, { padTo, start }: HqqSettings, inverse: Float64Array, zero: Float64Array, first: number, end: number): void {
  for (let granule = first; granule < end; granule++) {
    const from = granules.base(granule)
    const length = granules.length(granule)
    let low = length < padTo ? 0 : Infinity
    let high = length < padTo ? 0 : -Infinity
    for (let i = from; i < from + length * granules.stride; i += granules.stride) {
      const value = w[i] as number
      if (value < low) low = value
      if (value > high) high = value
    }
    const width = high - low
    inverse[granule] = width <= 1e-4 ? 1 : Math.min(top / width, 2e4)
    const exact = -low * (inverse[granule] as number)
    zero[granule] = start === 'rounded' ? exact + SHIFT - SHIFT : exact
  }
}

/** What the last round saw of each granule that has come to rest; the others have an infinite reach. */
interface Seen {
  /** Sum of |d|. */
  readonly distance: Float64Array
  /** Largest |d|. */
  readonly reach: Float64Array
}

/** Of a round so far: the sum of |w - ŵ| under the present zero points, and of how many. */
interface Sums {
  total: number
  count: number
}

/** Elements between two cuts: a power is taken of most of them. */
const PIECE = 2 ** 16

/** A part of a round: writes the next zero points of some granules. */
function halfQuadraticRound(w: Float32Array, granules: Granules, top: number, inverse: Float64Array, zero: Float64Array, next: Float64Array, seen: Seen, lpNorm: number, beta: number, padTo: number, sums: Sums, start: number, end: number): void {
  // Below this residual the shrinkage |d| - |d|^(p-1)/β is not positive: no power has to be taken.
  const shrinksToZero = beta ** (-1 / (2 - lpNorm))
  let { total, count } = sums
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const length = granules.length(granule)
    const to = from + length * granules.stride
    const inv = inverse[granule] as number
    const scale = 1 / inv
    const z = zero[granule] as number
    const padding = Math.max(padTo - length, 0)
    count += length + padding
    // Its zero point stands still and nothing would be shrunk: this round would see what the last one saw.
    if ((seen.reach[granule] as number) <= shrinksToZero) {
      total += seen.distance[granule] as number
      next[granule] = z
      continue
    }
    let sum = 0
    let distance = 0
    let reach = 0
    for (let i = from; i < to; i += granules.stride) {
      const value = w[i] as number
      const exact = value * inv + z
      const q = (exact < 0 ? 0 : exact > top ? top : exact) + SHIFT - SHIFT
      const d = value - (q - z) * scale
      const magnitude = d < 0 ? -d : d
      distance += magnitude
      if (magnitude > reach) reach = magnitude
      let kept = value
      if (magnitude > shrinksToZero) {
        const shrunk = magnitude - magnitude ** (lpNorm - 1) / beta
        kept = value - (d < 0 ? -shrunk : shrunk)
      }
      sum += q - kept * inv
    }
    if (padding > 0) {
      const q = (z < 0 ? 0 : z > top ? top : z) + SHIFT - SHIFT
      const d = -(q - z) * scale
      const shrunk = Math.abs(d) > shrinksToZero ? Math.sign(d) * (Math.abs(d) - Math.abs(d) ** (lpNorm - 1) / beta) : 0
      sum += padding * (q + shrunk * inv)
      distance += padding * Math.abs(d)
      reach = Math.max(reach, Math.abs(d))
    }
    const moved = sum / (length + padding)
    next[granule] = moved
    total += distance
    if (moved === z) {
      seen.distance[granule] = distance
      seen.reach[granule] = reach
    }
  }
  sums.total = total
  sums.count = count
}
