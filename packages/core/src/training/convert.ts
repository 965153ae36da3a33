import type { Differentiator, FakeQuant, FakeQuantState, Rounded, TrainingLayer } from '../contract/v2/training.js'
import { LowbitError } from '../errors.js'
import { checkQTensor, paramShape, type Codes, type QTensor } from '../qtensor.js'
import { codeRange, type Scheme } from '../scheme.js'
import { elementCount } from '../tensor.js'
import { orient } from './plan.js'

/**
 * The quantized weight that a prepared layer stands for: computed by the operations that trained it, so that its codes are
 * the ones training saw, and seen as `[N, K]`.
 *
 * @param x the latent weight, in the shape of the fake quantization's spec (after BatchNorm folding, if any).
 * @throws LOWBIT_NONFINITE if a scale or code is not a finite number, LOWBIT_SHAPE if what came back does not fit its scheme.
 */
export async function convertWeight<T>(backend: Pick<Differentiator<T>, 'ops' | 'read'>, fakeQuant: FakeQuant, x: T, state: FakeQuantState<T>, orientation: TrainingLayer['orientation'] = 'NK', thing = 'weight'): Promise<QTensor> {
  const { ops, read } = backend
  return roundedWeight(read, fakeQuant.scheme, ops.shape(x), fakeQuant.quantize(ops, x, state), orientation, thing)
}

/** The same from what `quantize` gave, for those who free what was made on the way before anything is read. */
export async function roundedWeight<T>(read: Differentiator<T>['read'], scheme: Scheme, shape: readonly number[], rounded: Rounded<T>, orientation: TrainingLayer['orientation'] = 'NK', thing = 'weight'): Promise<QTensor> {
  const values = await read(rounded.codes)
  const scales = await read(rounded.scales)
  const offsets = rounded.zeroPoints === undefined ? undefined : await read(rounded.zeroPoints)
  for (const [what, numbers] of [['code', values], ['scale', scales], ['zero point', offsets ?? []]] as const) {
    const bad = numbers.findIndex((v) => !Number.isFinite(v))
    if (bad >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `${what} ${bad} is ${numbers[bad]}`, expected: 'finite numbers', fix: 'the training diverged: lower the learning rate, or start from an earlier checkpoint' })
  }
  const q: QTensor = {
    scheme,
    shape,
    codes: toCodes(values, scheme, thing),
    params: {
      scales,
      ...(offsets === undefined ? {} : { zeroPoints: scheme.zeroPoint === 'float' ? offsets : Int32Array.from(offsets) }),
      shape: paramShape(scheme.granularity, shape),
    },
  }
  checkQTensor(q, thing)
  return orientation === 'NK' ? q : transposeQTensor(q)
}

function toCodes(values: Float32Array, scheme: Scheme, thing: string): Codes {
  const { min, max } = codeRange(scheme.dtype)
  const wrong = values.findIndex((v) => !(Number.isInteger(v) && v >= min && v <= max))
  if (wrong >= 0) throw new LowbitError('LOWBIT_INTERNAL', { thing, found: `code ${values[wrong]}`, expected: `a whole number from ${min} to ${max} (${scheme.dtype})` })
  const array = max > 255 || min < -128 ? (min < 0 ? Int16Array : Uint16Array) : min < 0 ? Int8Array : Uint8Array
  return array.from(values)
}

/**
 * The same matrix with its axes swapped: codes, scales and zero points.
 * @throws LOWBIT_SHAPE unless it has two axes.
 */
export function transposeQTensor(q: QTensor): QTensor {
  if (q.shape.length !== 2) throw new LowbitError('LOWBIT_SHAPE', { thing: 'quantized tensor to transpose', found: `shape [${q.shape.join(', ')}]`, expected: 'a matrix' })
  const { shape: grid, scales, zeroPoints } = q.params
  // A grid of one axis or none lies the same way in both orientations.
  const turn = <A extends Float32Array | Int32Array>(a: A): A => (grid.length === 2 ? transpose(a, grid[0], grid[1]) : a)
  return {
    scheme: orient(q.scheme, 'KN'),
    shape: [q.shape[1], q.shape[0]],
    codes: transpose(q.codes, q.shape[0], q.shape[1]),
    params: { scales: turn(scales), ...(zeroPoints === undefined ? {} : { zeroPoints: turn(zeroPoints) }), shape: [...grid].reverse() },
  }
}

function transpose<A extends Codes | Float32Array | Int32Array>(data: A, rows: number, columns: number): A {
  const out = data.slice() as A
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c]
  return out
}

/** Bits a weight takes on disk: its code, and its share of float16 scales and of zero points of the code's width. */
export function bitsPerWeight(q: QTensor, codeBits: number, scaleBits = 16): number {
  const granules = q.params.scales.length
  const offsets = q.params.zeroPoints === undefined ? 0 : q.scheme.zeroPoint === 'float' ? scaleBits : codeBits
  return codeBits + (granules * (scaleBits + offsets)) / elementCount(q.shape)
}
