import { allocateCodes, describeScheme, dequantize, LowbitError, paramShape, roundToNearest, type QTensor, type Scheme } from '@lowbit/core'
import type { Part } from '../forward/parts.js'
import type { ModelMatrix } from '../weights/matrix.js'
import { isQuantized } from '../weights/matrix.js'
import type { WeightSource } from '../weights/weight-source.js'

/** Floats that are rounded at a time: what loading holds beside the codes. */
const PIECE = 1 << 21

/**
 * A float matrix as codes, rounded to the nearest, some rows at a time. What is codes in the file stays as it is.
 * @throws LOWBIT_UNSUPPORTED for a scheme that is not made of rows
 */
export async function quantizePart(source: WeightSource, part: Part, scheme: Scheme): Promise<{ readonly matrix: ModelMatrix; readonly error?: number }> {
  const [rows, columns] = part.shape
  const { granularity } = scheme
  if (granularity.kind === 'tensor' || granularity.kind === 'token' || granularity.axis !== (granularity.kind === 'channel' ? 0 : 1)) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights', found: describeScheme(scheme), expected: 'one scale a row, or groups along K' })
  }
  if (!FLOATS.test(source.typeOf(part))) {
    const matrix = await source.matrix(part)
    if (isQuantized(matrix)) return { matrix }
  }
  const each = paramShape(granularity, part.shape).reduce((a, b) => a * b, 1) / rows
  const codes = allocateCodes(scheme.dtype, rows * columns)
  const scales = new Float32Array(rows * each)
  let zeroPoints: Int32Array | Float32Array | undefined
  let error = 0
  let energy = 0
  const step = Math.max(1, Math.floor(PIECE / columns))
  for (let from = 0; from < rows; from += step) {
    const count = Math.min(step, rows - from)
    const w = await source.rows(part, from, count)
    const q = roundToNearest(w, count, columns, scheme)
    codes.set(q.codes, from * columns)
    scales.set(q.params.scales, from * each)
    const zeros = q.params.zeroPoints
    if (zeros !== undefined) {
      zeroPoints ??= zeros instanceof Float32Array ? new Float32Array(rows * each) : new Int32Array(rows * each)
      zeroPoints.set(zeros, from * each)
    }
    const { data } = dequantize(q)
    for (let i = 0; i < w.length; i++) {
      error += (w[i] - data[i]) ** 2
      energy += w[i] ** 2
    }
  }
  const matrix: QTensor = { scheme, shape: part.shape, codes, params: { scales, shape: paramShape(granularity, part.shape), ...(zeroPoints === undefined ? {} : { zeroPoints }) } }
  return { matrix, error: energy === 0 ? 0 : error / energy }
}

const FLOATS = /^(F64|F32|F16|BF16|F8_E4M3|F8_E5M2)$/
