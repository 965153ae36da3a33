import { LowbitError } from '../errors.js'

/** One stage of vector quantization: an index a vector, a codebook of vectors. */
export interface VectorQuantized {
  /** `[rows, K / vectorLength]` */
  readonly index: Int32Array
  /** `[entries, vectorLength]` */
  readonly codebook: Float64Array
  /** Weighted error at each assignment: it never rises. */
  readonly errors: readonly number[]
}

export interface VectorQuantizeOptions {
  readonly vectorLength: number
  /** Where the codebook starts, `[entries, vectorLength]`. */
  readonly codebook: ArrayLike<number>
  /** Rounds at most. Default 60. */
  readonly limit?: number
}

/**
 * Weighted k-means over vectors of neighbours along K (VPTQ, Liu et al. 2024, section 3.2): distance `Σ h_j (v_j − c_j)²`, h the Hessian
 * diagonal of the columns; centroid `Σ h_j v_j / Σ h_j`. The lower index wins a tie; a component whose weights are all 0 keeps its value.
 * Rounds go on until the assignment repeats. A second stage quantizes what {@link vectorValues} of the first leaves over.
 * @param weight `[rows, columns]`
 * @param importance h, `[columns]`
 * @throws LOWBIT_SHAPE if vectors do not fill the columns.
 */
export function vectorQuantize(weight: ArrayLike<number>, columns: number, importance: ArrayLike<number>, { vectorLength: n, codebook: start, limit = 60 }: VectorQuantizeOptions): VectorQuantized {
  if (!(n >= 1) || columns % n !== 0 || weight.length % columns !== 0 || start.length % n !== 0 || start.length === 0 || importance.length !== columns) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'vector quantization', found: `vectors of ${n}, ${columns} columns, ${weight.length} weights, ${importance.length} importances, a codebook of ${start.length}`, expected: 'vectors that fill the columns and the codebook' })
  }
  const codebook = Float64Array.from(start)
  const entries = codebook.length / n
  const vectors = weight.length / n
  const index = new Int32Array(vectors).fill(-1)
  const errors: number[] = []
  while (errors.length < limit) {
    const { moved, error } = assign(weight, columns, importance, codebook, n, index)
    errors.push(error)
    if (!moved) break
    const sums = new Float64Array(codebook.length)
    const mass = new Float64Array(codebook.length)
    for (let v = 0; v < vectors; v++) {
      for (let j = 0; j < n; j++) {
        const h = importance[(v * n + j) % columns]
        sums[index[v] * n + j] += h * weight[v * n + j]
        mass[index[v] * n + j] += h
      }
    }
    for (let i = 0; i < entries * n; i++) if (mass[i] > 0) codebook[i] = sums[i] / mass[i]
  }
  return { index, codebook, errors }
}

/** The weights that indices and codebook stand for. */
export function vectorValues({ index, codebook }: Pick<VectorQuantized, 'index' | 'codebook'>, vectorLength: number): Float64Array {
  return Float64Array.from({ length: index.length * vectorLength }, (_, i) => codebook[index[Math.floor(i / vectorLength)] * vectorLength + (i % vectorLength)])
}

function assign(weight: ArrayLike<number>, columns: number, importance: ArrayLike<number>, codebook: Float64Array, n: number, index: Int32Array): { readonly moved: boolean; readonly error: number } {
  let moved = false
  let error = 0
  for (let v = 0; v < index.length; v++) {
    let best = 0
    let least = Infinity
    for (let c = 0; c < codebook.length / n; c++) {
      let distance = 0
      for (let j = 0; j < n; j++) distance += importance[(v * n + j) % columns] * (weight[v * n + j] - codebook[c * n + j]) ** 2
      if (distance < least) {
        least = distance
        best = c
      }
    }
    if (best !== index[v]) moved = true
    index[v] = best
    error += least
  }
  return { moved, error }
}
