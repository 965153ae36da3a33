import { doubleQuantize, restoreDoubleQuantized, roundToNearest, type HostTensor, type QTensor, type Scheme } from '@lowbit/core'

/** Scales of a block that are codes together, as QLoRA has it. */
const SCALES = 256

/**
 * A float matrix as the codes of a frozen base. With `doubleQuantized`, NF4's scales are what their 8-bit codes give
 * (Dettmers et al. 2023): 4.13 bits a weight in groups of 64.
 */
export function frozenBase(weight: HostTensor<'float32'>, scheme: Scheme, doubleQuantized: boolean): QTensor {
  const q = roundToNearest(weight.data, weight.shape[0], weight.shape[1], scheme)
  if (scheme.dtype !== 'nf4' || !doubleQuantized) return q
  return { ...q, params: { ...q.params, scales: restoreDoubleQuantized(doubleQuantize(q.params.scales, SCALES), SCALES) } }
}
