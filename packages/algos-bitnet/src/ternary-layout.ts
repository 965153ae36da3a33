import type { QTensor, Scheme } from '@lowbit/core'
import { LowbitError } from '@lowbit/core'

/** Why a tensor does not fit a BitNet layout: latent weights have another dtype and stop here. */
export function refusesAllButTernary(scheme: Scheme, shape: readonly number[]): string | undefined {
  if (scheme.dtype !== 'ternary' || scheme.granularity.kind !== 'tensor') return 'ternary codes with one scale: ternarise latent weights first'
  return shape.length === 2 ? undefined : 'a matrix [N, K]'
}

/** Codes plus one: 0, 1 or 2. @throws LOWBIT_DATA for any other code, which two bits would turn into something else. */
export function ternaryLevels(q: QTensor): Uint8Array {
  return Uint8Array.from(q.codes, (code, i) => {
    if (code !== -1 && code !== 0 && code !== 1) throw new LowbitError('LOWBIT_DATA', { thing: 'ternary weight', found: `code ${code} at ${i}`, expected: '-1, 0 or 1' })
    return code + 1
  })
}
