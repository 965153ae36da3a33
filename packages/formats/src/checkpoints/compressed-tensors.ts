import { LowbitError, type HostTensor } from '@lowbit/core'
import { readCode, wordsFor, writeCode } from './bit-strings.js'
import { exactHalves, groupsOf, type GroupedWeight } from './grouped-weight.js'
import { floatsOf, hasPart, wordsOf, type PartTensors } from './tensors.js'

export interface CompressedOptions {
  readonly bits: number
  readonly symmetric: boolean
  /** Values that share a scale, where the configuration says: the last group of a row may then be short. Absent: K divided by the scales of a row. */
  readonly groupSize?: number
}

/**
 * A weight of compressed-tensors' `pack-quantized`: `weight_packed` int32 `[N, ceil(K·bits/32)]`, code plus `2^(bits-1)` along K, low bits first;
 * `weight_scale` `[N, groups]`; `weight_zero_point` int32 `[ceil(N·bits/32), groups]` packed along N; `weight_shape` int64 `[2]`.
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_UNSUPPORTED for act-order.
 */
export function readCompressed(parts: PartTensors, { bits, symmetric, groupSize }: CompressedOptions, thing = 'pack-quantized'): GroupedWeight {
  const [rows, columns] = shapeOf(parts, thing)
  const width = wordsFor(columns, bits)
  const { words } = wordsOf(parts, 'weight_packed', [rows, width], thing)
  const groups = parts['weight_scale']?.shape[1] ?? 1
  const stored = floatsOf(parts, 'weight_scale', [rows, groups], thing)
  if (hasPart(parts, 'weight_g_idx')) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'weight_g_idx: columns in the order of activations', expected: 'columns in order', fix: 'save the checkpoint without actorder, or with actorder static' })
  const isShort = groupSize !== undefined && groupSize > 0 && columns % groupSize !== 0
  if (isShort && groups !== Math.ceil(columns / groupSize)) throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}.weight_scale`, found: `${groups} groups for K = ${columns}`, expected: `${Math.ceil(columns / groupSize)} groups of ${groupSize}` })
  if (groups < 1 || (!isShort && columns % groups !== 0)) throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}.weight_scale`, found: `${groups} groups for K = ${columns}`, expected: 'a divisor of K' })
  const codes = new Uint8Array(rows * columns)
  for (let n = 0; n < rows; n++) for (let k = 0; k < columns; k++) codes[n * columns + k] = readCode({ words, step: 1 }, n * width, k, bits)
  const zeroPoints = new Int32Array(rows * groups).fill(2 ** (bits - 1))
  if (!symmetric) {
    const zeros = { words: wordsOf(parts, 'weight_zero_point', [wordsFor(rows, bits), groups], thing).words, step: groups }
    for (let n = 0; n < rows; n++) for (let g = 0; g < groups; g++) zeroPoints[n * groups + g] = readCode(zeros, g, n, bits)
  }
  return { shape: [rows, columns], bits, group: isShort ? groupSize : columns / groups, codes, scales: stored, zeroPoints }
}

function shapeOf(parts: PartTensors, thing: string): [number, number] {
  const { data } = parts['weight_shape'] ?? {}
  const sizes = data === undefined || data.length !== 2 ? [] : Array.from(data as ArrayLike<number | bigint>, Number)
  const [rows, columns] = sizes
  if (rows === undefined || columns === undefined || !sizes.every((size) => Number.isSafeInteger(size) && size > 0)) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}.weight_shape`, found: data === undefined ? 'not there' : sizes.join(', '), expected: 'two sizes' })
  return [rows, columns]
}

/**
 * A weight in the tensors of `pack-quantized`. Symmetric where every zero point is the middle.
 * @param scaleType What scales are stored as; float16 ones must be float16 values.
 * @param mayBeShort Groups need not divide K; readers then need `group_size` of the configuration, and other tools refuse them.
 * @throws LOWBIT_UNSUPPORTED for minima, act-order, groups that do not divide K.
 */
export function writeCompressed(w: GroupedWeight, scaleType: 'float16' | 'float32' = 'float16', thing = 'pack-quantized', mayBeShort = false): { readonly tensors: Readonly<Record<string, HostTensor>>; readonly symmetric: boolean } {
  const { shape: [rows, columns], bits, group, codes, zeroPoints } = w
  const refuse = (found: string, expected: string): LowbitError => new LowbitError('LOWBIT_UNSUPPORTED', { thing, found, expected })
  if (zeroPoints === undefined || w.flat === true || bits < 2 || bits > 8) throw refuse('no integer zero points', 'integer codes of 2 to 8 bits with zero points')
  if (w.columns !== undefined) throw refuse('columns in the order of activations', 'columns in order')
  if (columns % group !== 0 && !mayBeShort) throw refuse(`groups of ${group} in K = ${columns}`, 'a divisor of K')
  const groups = groupsOf(w)
  const width = wordsFor(columns, bits)
  const packed = new Int32Array(rows * width)
  for (let n = 0; n < rows; n++) for (let k = 0; k < columns; k++) writeCode({ words: packed, step: 1 }, n * width, k, bits, codes[n * columns + k] as number)
  const symmetric = zeroPoints.every((zero) => zero === 2 ** (bits - 1))
  const tensors: Record<string, HostTensor> = {
    weight_packed: { dtype: 'int32', shape: [rows, width], data: packed },
    weight_scale: scaleType === 'float32' ? { dtype: 'float32', shape: [rows, groups], data: Float32Array.from(w.scales) } : { dtype: 'float16', shape: [rows, groups], data: exactHalves(w.scales, thing) },
    weight_shape: { dtype: 'int64', shape: [2], data: BigInt64Array.of(BigInt(rows), BigInt(columns)) },
  }
  if (!symmetric) {
    const zeros = new Int32Array(wordsFor(rows, bits) * groups)
    for (let n = 0; n < rows; n++) {
      for (let g = 0; g < groups; g++) {
        const zero = zeroPoints[n * groups + g] as number
        if (zero < 0 || zero >= 2 ** bits) throw refuse(`a zero point of ${zero}`, `0 to ${2 ** bits - 1}`)
        writeCode({ words: zeros, step: groups }, g, n, bits, zero)
      }
    }
    tensors['weight_zero_point'] = { dtype: 'int32', shape: [wordsFor(rows, bits), groups], data: zeros }
  }
  return { tensors, symmetric }
}
