import { LowbitError } from './errors.js'
import type { QTensor } from './qtensor.js'
import type { HostTensor } from './tensor.js'

/**
 * A matrix `[N, K]` of codes in groups along K, as files of language models hold them: `value = level · scale + minimum`,
 * where the level is the code itself or an entry of a table. Q4_K, Q6_K, IQ4_NL, MXFP4 and TQ2_0 (ggml) and affine groups
 * (MLX) keep their exact meaning in it. Codes that stand for floats, such as NF4, are a {@link QTensor}.
 */
export interface GroupedTensor {
  readonly shape: readonly [number, number]
  /** One a byte, `[N, K]`. With levels: indices. */
  readonly codes: Int8Array | Uint8Array
  /** Codes along K that share a scale; the last group of a row may be short. */
  readonly group: number
  /** `[N, ceil(K / group)]`. */
  readonly scales: Float32Array
  /** As the scales. */
  readonly minima?: Float32Array
  /** Whole numbers that the codes stand for, −128 to 127. */
  readonly levels?: Int8Array
}

/** Codes along K that share a scale: all of a row where a matrix `[N, K]` has no groups. What `int8-group` activations follow. */
export function groupAlongK(weights: QTensor | GroupedTensor): number {
  const columns = weights.shape[1] ?? 1
  if (!('scheme' in weights)) return Math.min(weights.group, columns)
  const { granularity } = weights.scheme
  return granularity.kind === 'group' ? Math.min(granularity.size, columns) : columns
}

/**
 * Checks sizes, and codes against levels.
 * @throws LOWBIT_SHAPE, LOWBIT_DATA, LOWBIT_GROUP_SIZE
 */
export function checkGroupedTensor(t: GroupedTensor, thing: string): void {
  const [n, k] = t.shape
  if (!Number.isInteger(t.group) || t.group < 1) throw new LowbitError('LOWBIT_GROUP_SIZE', { thing, found: `group size ${t.group}`, expected: 'a whole number of at least 1' })
  if (t.shape.length !== 2 || !Number.isInteger(n) || !Number.isInteger(k) || n < 1 || k < 1) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `shape [${t.shape.join(', ')}]`, expected: 'a matrix [N, K], neither of them 0' })
  if (t.codes.length !== n * k) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${t.codes.length} codes for shape [${n}, ${k}]`, expected: `${n * k}` })
  const granules = n * Math.ceil(k / t.group)
  for (const [name, values] of [['scales', t.scales], ['minima', t.minima]] as const) {
    if (values !== undefined && values.length !== granules) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${values.length} ${name}`, expected: `${granules}` })
  }
  const { levels } = t
  if (levels === undefined) return
  const at = t.codes.findIndex((code) => code < 0 || code >= levels.length)
  if (at >= 0) throw new LowbitError('LOWBIT_DATA', { thing, found: `code ${t.codes[at]} at element ${at}`, expected: `0 to ${levels.length - 1}: there are ${levels.length} levels` })
}

/** Real values, float32: `fl(fl(level · scale) + minimum)`. @throws LOWBIT_SHAPE, LOWBIT_DATA, LOWBIT_GROUP_SIZE */
export function dequantizeGrouped(t: GroupedTensor): HostTensor<'float32'> {
  checkGroupedTensor(t, 'dequantize')
  const [n, k] = t.shape
  const groups = Math.ceil(k / t.group)
  const data = new Float32Array(n * k)
  for (let row = 0; row < n; row++) {
    for (let j = 0; j < k; j++) {
      const granule = row * groups + Math.floor(j / t.group)
      const code = t.codes[row * k + j] ?? 0
      const value = Math.fround((t.levels?.[code] ?? code) * (t.scales[granule] ?? 0))
      data[row * k + j] = t.minima === undefined ? value : value + (t.minima[granule] ?? 0)
    }
  }
  return { dtype: 'float32', shape: [n, k], data }
}
