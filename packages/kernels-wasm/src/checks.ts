import { LowbitError, type HostTensor, type MatmulOptions } from '@lowbit/core'
import { ACTIVATIONS } from './program/supports.js'

/** A product that has passed the checks: M rows, and the tensor to write. */
export interface CheckedProduct {
  readonly rows: number
  readonly out: HostTensor<'float32'>
}

/** @throws LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_ARGUMENT */
export function checkProduct(x: HostTensor<'float32'>, weights: { readonly rows: number; readonly columns: number }, out: HostTensor<'float32'> | undefined, options: MatmulOptions): CheckedProduct {
  const { rows: n, columns: k } = weights
  checkFloats(x, 'activations')
  const along = x.shape[x.shape.length - 1]
  if (along !== k) throw new LowbitError('LOWBIT_SHAPE', { thing: 'activations', found: `shape [${x.shape.join(', ')}]`, expected: `[…, ${k}]: weights are [${n}, ${k}]` })
  const rows = x.data.length / k
  const shape = [...x.shape.slice(0, -1), n]
  if (options.activations !== undefined && !ACTIVATIONS.includes(options.activations)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'activations', found: String(options.activations), expected: ACTIVATIONS.join(', ') })
  if (options.bias !== undefined && options.bias.length !== n) throw new LowbitError('LOWBIT_SHAPE', { thing: 'bias', found: `${options.bias.length} values`, expected: `${n}` })
  if (out === undefined) return { rows, out: { dtype: 'float32', shape, data: new Float32Array(rows * n) } }
  checkFloats(out, 'result')
  if (out.shape.join() !== shape.join()) throw new LowbitError('LOWBIT_SHAPE', { thing: 'result', found: `shape [${out.shape.join(', ')}]`, expected: `[${shape.join(', ')}]` })
  return { rows, out }
}

/** @throws LOWBIT_DTYPE, LOWBIT_SHAPE */
export function checkFloats(x: HostTensor<'float32'>, thing: string): void {
  if (x.dtype !== 'float32' || !(x.data instanceof Float32Array)) throw new LowbitError('LOWBIT_DTYPE', { thing, found: String(x.dtype), expected: 'float32' })
  const count = x.shape.reduce((product, size) => product * size, 1)
  if (count !== x.data.length || count === 0) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${x.data.length} values for shape [${x.shape.join(', ')}]`, expected: count === 0 ? 'at least one value' : `${count}` })
}

/** @throws LOWBIT_NONFINITE naming the row */
export function notFinite(x: HostTensor<'float32'>, row: number): LowbitError {
  return new LowbitError('LOWBIT_NONFINITE', { thing: `activation row ${row}`, found: 'a NaN or an infinity', expected: 'finite values', fix: `look for the layer that makes it (activations are [${x.shape.join(', ')}]), or pass activations: 'float32'` })
}

/** @throws LOWBIT_DISPOSED */
export function disposed(thing: string): LowbitError {
  return new LowbitError('LOWBIT_DISPOSED', { thing, found: 'used after dispose()', fix: 'keep it alive for as long as it is used' })
}
