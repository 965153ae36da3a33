import { allocate, bytesPerElement, DTYPES, type DataOf, type DType } from './dtype.js'
import { LowbitError } from './errors.js'

/** A tensor in host memory, row major and contiguous: what packages hand each other. */
export interface HostTensor<D extends DType = DType> {
  readonly dtype: D
  /** Sizes, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[]
  readonly data: DataOf<D>
}

/**
 * Product of the dims.
 * @throws LOWBIT_SHAPE for a negative, fractional or overflowing size.
 */
export function elementCount(shape: readonly number[], thing = 'tensor'): number {
  let count = 1
  for (const size of shape) {
    if (!Number.isInteger(size) || size < 0) {
      throw new LowbitError('LOWBIT_SHAPE', { thing, found: `shape [${shape.join(', ')}]`, expected: 'whole, non-negative sizes' })
    }
    count *= size
    if (count > Number.MAX_SAFE_INTEGER) {
      throw new LowbitError('LOWBIT_SHAPE', { thing, found: `shape [${shape.join(', ')}]`, expected: 'fewer than 2^53 elements' })
    }
  }
  return count
}

/** Bytes a tensor of this dtype and shape takes. */
export function byteSize(dtype: DType, shape: readonly number[]): number {
  return elementCount(shape) * bytesPerElement(dtype)
}

/**
 * Puts data and shape together, checking that they fit.
 * @throws LOWBIT_SHAPE if the number of elements differs, LOWBIT_DTYPE if the array is of another type.
 */
export function tensor<D extends DType>(dtype: D, shape: readonly number[], data: DataOf<D>, thing = 'tensor'): HostTensor<D> {
  const count = elementCount(shape, thing)
  if (!(data instanceof DTYPES[dtype].array)) {
    throw new LowbitError('LOWBIT_DTYPE', { thing, found: `a ${Object.prototype.toString.call(data).slice(8, -1)} for ${dtype}`, expected: DTYPES[dtype].array.name })
  }
  if (data.length !== count) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${data.length} elements for shape [${shape.join(', ')}]`, expected: `${count} elements` })
  }
  return { dtype, shape, data }
}

/** A tensor of zeros. */
export function zeros<D extends DType>(dtype: D, shape: readonly number[]): HostTensor<D> {
  return { dtype, shape, data: allocate(dtype, elementCount(shape)) }
}

/** Narrows a tensor to one dtype, or says what it was. */
export function expectDType<D extends DType>(t: HostTensor, dtype: D, thing: string): HostTensor<D> {
  if (!hasDType(t, dtype)) {
    throw new LowbitError('LOWBIT_DTYPE', { thing, found: t.dtype, expected: dtype })
  }
  return t
}

/** Type guard: is this tensor of that dtype? */
export function hasDType<D extends DType>(t: HostTensor, dtype: D): t is HostTensor<D> {
  return t.dtype === dtype
}
