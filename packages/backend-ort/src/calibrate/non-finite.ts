import { LowbitError } from '@lowbit/core'

/** The error for NaN or infinity in an activation. `thing` names tensor and sample. */
export function nonFinite(thing: string, value: number): LowbitError {
  return new LowbitError('LOWBIT_NONFINITE', { thing, found: Number.isNaN(value) ? 'NaN' : 'infinity', expected: 'finite activations', fix: 'look at that sample, or leave the sites that read this tensor in float' })
}
