import { LowbitError, type HostTensor } from '@lowbit/core'

/** What a file says about a tensor before it is read. */
export interface StoredTensor {
  readonly name: string
  /** As the file names it: `BF16`, `Q4_K`, … */
  readonly type: string
  /** Outermost first. */
  readonly shape: readonly number[]
  /** Bytes in the file. */
  readonly length: number
}

/** Some rows of a tensor: slices along its outermost axis. */
export interface Rows {
  readonly from: number
  readonly count: number
}

/** A model file (or several) that is open: tensors are read one at a time, when asked for. `close` or `await using` it. */
export interface TensorSource extends AsyncDisposable {
  readonly name: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The bytes as stored, little endian. @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE for rows that are not there, LOWBIT_FILE. */
  bytes(name: string, rows?: Rows): Promise<Uint8Array<ArrayBuffer>>
  /** A tensor of a plain type. @throws LOWBIT_DTYPE for blocks of codes, and what {@link bytes} throws. */
  host(name: string): Promise<HostTensor>
  /** The values in float32, whatever the type. @throws LOWBIT_UNSUPPORTED for a type that is not read, and what {@link bytes} throws. */
  floats(name: string, rows?: Rows): Promise<HostTensor<'float32'>>
  close(): Promise<void>
}

/** Shape of some rows of a tensor. */
export function rowsShape(shape: readonly number[], rows: Rows | undefined): readonly number[] {
  return rows === undefined ? shape : [rows.count, ...shape.slice(1)]
}

/** Bytes of some rows of a tensor. @throws LOWBIT_SHAPE for rows that are not there. */
export function rowRange(tensor: Pick<StoredTensor, 'shape' | 'length'> & { readonly offset: number }, rows: Rows | undefined, thing: string): { readonly offset: number; readonly length: number } {
  const { shape, offset, length } = tensor
  if (rows === undefined) return { offset, length }
  const count = shape[0] ?? 0
  const { from, count: wanted } = rows
  if (shape.length < 2 || !Number.isInteger(from) || !Number.isInteger(wanted) || from < 0 || wanted < 0 || from + wanted > count) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `rows ${from} to ${from + wanted} of [${shape.join(', ')}]`, expected: 'rows of a matrix' })
  }
  const each = count === 0 ? 0 : length / count
  return { offset: offset + from * each, length: wanted * each }
}
