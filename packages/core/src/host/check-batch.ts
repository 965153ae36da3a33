import type { Batch, TensorRef } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'
import { own } from '../own.js'
import { elementCount } from '../tensor.js'

/**
 * Checks a batch against what a model takes. Symbolic sizes and negative ones fit any.
 * @throws LOWBIT_DATA naming the input, what was given and what fits
 */
export function checkBatch(inputs: readonly TensorRef[], batch: Batch): void {
  const names = inputs.map((i) => i.name)
  for (const name of Object.keys(batch)) {
    if (!names.includes(name)) {
      throw new LowbitError('LOWBIT_DATA', { thing: `input '${name}'`, found: 'the model has no input of this name', expected: names.map((n) => `'${n}'`).join(', ') || 'no inputs', fix: 'rename the arrays in the data' })
    }
  }
  for (const input of inputs) {
    const value = own(batch, input.name)
    const thing = `input '${input.name}'`
    const shape = input.shape === undefined ? 'any shape' : `[${input.shape.join(', ')}]`
    if (value === undefined) {
      throw new LowbitError('LOWBIT_DATA', { thing, found: 'missing from the batch', expected: `${input.dtype ?? 'a tensor'} ${shape}` })
    }
    if (input.dtype !== undefined && value.dtype !== input.dtype) {
      throw new LowbitError('LOWBIT_DATA', { thing, found: value.dtype, expected: input.dtype, fix: 'convert the data' })
    }
    const fits = input.shape === undefined || (input.shape.length === value.shape.length && input.shape.every((size, i) => typeof size !== 'number' || size < 0 || size === value.shape[i]))
    if (!fits) {
      throw new LowbitError('LOWBIT_DATA', { thing, found: `shape [${value.shape.join(', ')}]`, expected: shape, fix: 'reshape the data or change its batch size' })
    }
    if (elementCount(value.shape, thing) !== value.data.length) {
      throw new LowbitError('LOWBIT_DATA', { thing, found: `${value.data.length} elements for shape [${value.shape.join(', ')}]`, expected: `${elementCount(value.shape)}` })
    }
  }
}
