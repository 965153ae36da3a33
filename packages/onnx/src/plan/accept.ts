import type { Acceptance, Scheme } from '@lowbit/core'
import { storedType } from './stored-codes.js'

export const YES: Acceptance = { ok: true }

/** What no weight format of this backend holds; undefined for the rest. */
export function neverAccepted(scheme: Scheme): Acceptance | undefined {
  const { granularity: g } = scheme
  if (storedType(scheme) === undefined) return { ok: false, reason: `${scheme.dtype} has no ONNX operator that every runtime loads` }
  if (g.kind === 'token') return { ok: false, reason: 'scales a token are for activations' }
  if (g.kind === 'channel' && g.axis !== 0) return { ok: false, reason: 'weights are [N, K]: channels are axis 0' }
  if (g.kind === 'group' && g.axis !== 1) return { ok: false, reason: 'weights are [N, K]: groups lie along axis 1' }
  return undefined
}
