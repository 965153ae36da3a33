import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'

/**
 * Sees activations a batch at a time and gives a statistic. Nothing of a batch is kept: `bytes` does not depend on how many there were,
 * and batches may differ in shape.
 */
export interface Observer<R> {
  /** @throws LOWBIT_NONFINITE for NaN or infinity */
  observe(batch: HostTensor<'float32'>): void
  /** @throws LOWBIT_CALIBRATION if nothing was seen */
  result(): R
  /** Bytes held between batches. */
  readonly bytes: number
}

/** The error for NaN or infinity among activations; `index` counts elements of the batch. */
export function nonFiniteActivation(thing: string, value: number, index: number): LowbitError {
  return new LowbitError('LOWBIT_NONFINITE', {
    thing,
    found: `${value} at element ${index}`,
    expected: 'finite activations',
    fix: 'look at that sample, or leave the sites that read this tensor in float',
  })
}

/** The error for a statistic of nothing. */
export function nothingSeen(thing: string): LowbitError {
  return new LowbitError('LOWBIT_CALIBRATION', { thing, found: 'no values were seen', fix: 'pass calibration data that reaches this part of the model' })
}

/** @throws LOWBIT_NONFINITE at the first NaN or infinity */
export function requireFiniteActivations(values: Float32Array, thing: string): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    if (value - value !== 0) throw nonFiniteActivation(thing, value, i)
  }
}

/** Elements of a batch by channel: channel of element i is `floor(i / inner) % channels`. */
export function channelSpan(shape: readonly number[], axis: number, thing: string): { readonly channels: number; readonly inner: number } {
  const at = axis < 0 ? axis + shape.length : axis
  const channels = shape[at]
  if (channels === undefined) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `axis ${axis} of shape [${shape.join(', ')}]`, expected: `an axis below ${shape.length}` })
  return { channels, inner: shape.slice(at + 1).reduce((a, b) => a * b, 1) }
}
