import { LowbitError } from '../errors.js'
import { elementCount } from '../tensor.js'

/** Storage of the reference operations. */
export type FloatArray = Float32Array | Float64Array

const like = (data: FloatArray, size: number): FloatArray => (data instanceof Float64Array ? new Float64Array(size) : new Float32Array(size))

/** Row-major distances between neighbours along each axis. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step
    step *= shape[axis]
  }
  return strides
}

/** Index of an element in row-major order. */
export function indexer(shape: readonly number[]): (index: readonly number[]) => number {
  const strides = stridesOf(shape)
  return (index) => index.reduce((sum, i, axis) => sum + i * strides[axis], 0)
}

/** Index along each axis of the element at a row-major position. */
export function unravel(position: number, shape: readonly number[]): number[] {
  const index = new Array<number>(shape.length)
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = position % shape[axis]
    position = Math.floor(position / shape[axis])
  }
  return index
}

/**
 * The shape that two shapes broadcast to, as numpy has it.
 * @throws LOWBIT_SHAPE where sizes differ and neither is 1.
 */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const p = a[a.length - rank + i] ?? 1
    const q = b[b.length - rank + i] ?? 1
    if (p !== q && p !== 1 && q !== 1) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: 'broadcast', found: `[${a.join(', ')}] with [${b.join(', ')}]`, expected: 'equal sizes, or 1, from the last axis on' })
    }
    return p === 1 ? q : p
  })
}

/** Position in a tensor of `from` that stands at a position of `to`. */
function source(from: readonly number[], to: readonly number[]): (position: number) => number {
  if (elementCount(from) === 1) return () => 0
  const strides = stridesOf(from)
  const shift = to.length - from.length
  return (position) => {
    const index = unravel(position, to)
    return strides.reduce((sum, stride, axis) => sum + (from[axis] === 1 ? 0 : index[axis + shift] * stride), 0)
  }
}

export function broadcastTo(data: FloatArray, from: readonly number[], to: readonly number[]): FloatArray {
  if (from.join() === to.join()) return data
  const out = like(data, elementCount(to))
  const at = source(from, to)
  for (let i = 0; i < out.length; i++) out[i] = data[at(i)]
  return out
}

/** Sums what broadcasting had repeated: the backward pass of {@link broadcastTo}. */
export function sumTo(data: FloatArray, from: readonly number[], to: readonly number[]): FloatArray {
  if (from.join() === to.join()) return data
  const sums = new Float64Array(elementCount(to))
  const at = source(to, from)
  for (let i = 0; i < data.length; i++) sums[at(i)] += data[i]
  const out = like(data, sums.length)
  out.set(sums)
  return out
}

/** Where each element goes when axes are reduced, and the shape that is left with and without the reduced axes. */
export function reduceAxes(shape: readonly number[], axes: readonly number[] = shape.map((_, axis) => axis)): { kept: number[]; dropped: number[]; target(position: number): number } {
  const gone = new Set(axes.map((axis) => checkAxis(axis, shape)))
  const kept = shape.map((size, axis) => (gone.has(axis) ? 1 : size))
  return { kept, dropped: shape.filter((_, axis) => !gone.has(axis)), target: source(kept, shape) }
}

function checkAxis(axis: number, shape: readonly number[]): number {
  const positive = axis < 0 ? axis + shape.length : axis
  if (!Number.isInteger(axis) || positive < 0 || positive >= shape.length) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'axis', found: `${axis} of shape [${shape.join(', ')}]`, expected: `from ${-shape.length} to ${shape.length - 1}` })
  }
  return positive
}

export function permute(data: FloatArray, shape: readonly number[], permutation: readonly number[]): { shape: number[]; data: FloatArray } {
  const turned = permutation.map((axis) => shape[checkAxis(axis, shape)])
  const strides = stridesOf(shape)
  const out = like(data, data.length)
  for (let i = 0; i < out.length; i++) {
    const index = unravel(i, turned)
    out[i] = data[permutation.reduce((sum, axis, at) => sum + index[at] * strides[checkAxis(axis, shape)], 0)]
  }
  return { shape: turned, data: out }
}

export function padArray(data: FloatArray, shape: readonly number[], padding: readonly (readonly [number, number])[]): { shape: number[]; data: FloatArray } {
  const padded = shape.map((size, axis) => size + padding[axis][0] + padding[axis][1])
  return { shape: padded, data: unslice(data, padded, padding.map(([before]) => before), shape) }
}

/** @throws LOWBIT_SHAPE if the slice reaches outside. */
export function sliceArray(data: FloatArray, shape: readonly number[], begin: readonly number[], size: readonly number[]): FloatArray {
  if (begin.length !== shape.length || size.length !== shape.length || begin.some((b, axis) => b < 0 || b + size[axis] > shape[axis])) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'slice', found: `from [${begin.join(', ')}], sizes [${size.join(', ')}]`, expected: `within [${shape.join(', ')}]` })
  }
  const out = like(data, elementCount(size))
  const at = indexer(shape)
  for (let i = 0; i < out.length; i++) out[i] = data[at(unravel(i, size).map((p, axis) => p + begin[axis]))]
  return out
}

/** Puts a slice back into zeros of `shape`. */
export function unslice(data: FloatArray, shape: readonly number[], begin: readonly number[], size: readonly number[]): FloatArray {
  const out = like(data, elementCount(shape))
  const at = indexer(shape)
  for (let i = 0; i < data.length; i++) out[at(unravel(i, size).map((p, axis) => p + begin[axis]))] = data[i]
  return out
}

/**
 * Indices of rows, checked. @param shape - of the indices
 * @throws LOWBIT_SHAPE
 */
export function rowIndices(indices: ArrayLike<number>, shape: readonly number[], of: readonly number[]): Int32Array<ArrayBuffer> {
  if (of.length === 0) throw new LowbitError('LOWBIT_SHAPE', { thing: 'gather', found: 'a scalar', expected: 'rows' })
  if (elementCount(shape, 'gather') !== indices.length) throw new LowbitError('LOWBIT_SHAPE', { thing: 'gather', found: `${indices.length} indices for shape [${shape.join(', ')}]`, expected: `${elementCount(shape)}` })
  return Int32Array.from(indices, (index) => {
    if (!Number.isInteger(index) || index < 0 || index >= of[0]) throw new LowbitError('LOWBIT_SHAPE', { thing: 'gather', found: `index ${index}`, expected: `0 to ${of[0] - 1}` })
    return index
  })
}

/**
 * The shape of tensors put together along an axis, and where each begins in it.
 * @throws LOWBIT_SHAPE
 */
export function concatShape(shapes: readonly (readonly number[])[], along: number): { readonly shape: readonly number[]; readonly begins: readonly (readonly number[])[] } {
  const [first] = shapes
  if (first === undefined) throw new LowbitError('LOWBIT_SHAPE', { thing: 'concat', found: 'nothing to put together', expected: 'one tensor or more' })
  const axis = checkAxis(along, first)
  let size = 0
  const begins = shapes.map((shape) => {
    if (shape.length !== first.length || shape.some((s, i) => i !== axis && s !== first[i])) throw new LowbitError('LOWBIT_SHAPE', { thing: 'concat', found: `[${shape.join(', ')}] beside [${first.join(', ')}]`, expected: `equal sizes but along axis ${axis}` })
    const begin = first.map((_, i) => (i === axis ? size : 0))
    size += shape[axis]
    return begin
  })
  return { shape: first.map((s, i) => (i === axis ? size : s)), begins }
}
