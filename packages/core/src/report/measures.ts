/** Values two tensors are compared by. Decibels are capped at {@link EXACT_DB} where nothing differs. */
export interface Difference {
  /** Signal to quantization noise, 10·log10(Σx² / Σ(x−y)²), dB. */
  readonly sqnr: number
  /** Cosine of the angle between the two, 1 where both are zero. */
  readonly cosine: number
  /** Largest |x − y|. */
  readonly maxError: number
  /** Σ(x−y)² / count. */
  readonly meanSquaredError: number
  readonly count: number
  /** Pairs of which one value is not finite; see {@link DifferenceMeter}. Absent: none. */
  readonly notFinite?: number
}

/** Sums over all pairs that were compared. */
export interface Energies {
  /** Σx² */
  readonly signal: number
  /** Σ(x−y)² */
  readonly noise: number
}

/** What stands for "no difference at all" in decibels, so that reports stay plain JSON. */
export const EXACT_DB = 300

/**
 * Sums that give a {@link Difference}; feed it pieces in any sizes.
 *
 * One rule for values that are not finite, wherever outputs are compared: where the reference is not finite there is nothing to be
 * held to, and the pair is left out; where only the other value is not finite it counts as lost, as if it were 0. Both are counted
 * in `notFinite`, unless they are the same.
 */
export class DifferenceMeter {
  #signal = 0
  #noise = 0
  #other = 0
  #dot = 0
  #max = 0
  #count = 0
  #notFinite = 0

  /** Adds pairs of values, reference first. */
  add(reference: ArrayLike<number>, value: ArrayLike<number>): this {
    const n = Math.min(reference.length, value.length)
    let signal = 0
    let other = 0
    let dot = 0
    let noise = 0
    let left = 0
    let max = this.#max
    for (let i = 0; i < n; i++) {
      const x = reference[i]
      let y = value[i]
      let d = x - y
      if (d - d !== 0) {
        if (!Object.is(x, y)) this.#notFinite++
        if (!Number.isFinite(x)) {
          left++
          continue
        }
        // Finite values far apart overflow to no finite difference either: those are as wrong as they are.
        if (!Number.isFinite(y)) {
          y = 0
          d = x
        }
      }
      signal += x * x
      other += y * y
      dot += x * y
      noise += d * d
      const a = d < 0 ? -d : d
      if (a > max) max = a
    }
    this.#signal += signal
    this.#other += other
    this.#dot += dot
    this.#noise += noise
    this.#max = max
    this.#count += n - left
    return this
  }

  result(): Difference {
    const norm = Math.sqrt(this.#signal * this.#other)
    return {
      sqnr: decibels(this.#signal, this.#noise),
      cosine: norm === 0 ? (this.#noise === 0 ? 1 : 0) : this.#dot / norm,
      maxError: this.#max,
      meanSquaredError: this.#count === 0 ? 0 : this.#noise / this.#count,
      count: this.#count,
      ...(this.#notFinite === 0 ? {} : { notFinite: this.#notFinite }),
    }
  }

  energies(): Energies {
    return { signal: this.#signal, noise: this.#noise }
  }
}

/** 10·log10(signal / noise), ±{@link EXACT_DB} at the ends. */
export function decibels(signal: number, noise: number): number {
  if (noise === 0) return EXACT_DB
  if (signal === 0) return -EXACT_DB
  return 10 * Math.log10(signal / noise)
}

/** Compares two arrays of equal length. */
export function difference(reference: ArrayLike<number>, value: ArrayLike<number>): Difference {
  return new DifferenceMeter().add(reference, value).result()
}

/**
 * Rows whose largest element stands at the same index: `[agreeing, rows]` over the last axis of length `width`.
 */
export function top1Agreement(reference: ArrayLike<number>, value: ArrayLike<number>, width: number): readonly [number, number] {
  const rows = width === 0 ? 0 : Math.floor(reference.length / width)
  let agree = 0
  for (let r = 0; r < rows; r++) {
    if (argmax(reference, r * width, width) === argmax(value, r * width, width)) agree++
  }
  return [agree, rows]
}

function argmax(x: ArrayLike<number>, from: number, width: number): number {
  let best = 0
  for (let i = 1; i < width; i++) if (x[from + i] > x[from + best]) best = i
  return best
}
