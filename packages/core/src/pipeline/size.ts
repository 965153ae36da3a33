import type { Site } from '../contract/v2/host.js'
import { bytesPerElement } from '../dtype.js'
import { elementCount } from '../tensor.js'
import { paramShape, type QTensor } from '../qtensor.js'
import { bitsOf, type Scheme } from '../scheme.js'

/**
 * Bytes a weight of `shape` takes under a scheme: packed codes, f32 scales, and zero points in the codes' width where there are any.
 * An estimate for reports: a layout may pad, or keep scales in half precision.
 */
export function schemeBytes(scheme: Scheme, shape: readonly number[]): number {
  const granules = elementCount(paramShape(scheme.granularity, shape))
  const bits = bitsOf(scheme.dtype)
  const zeroPointBits = scheme.zeroPoint === 'float' ? 32 : scheme.symmetric ? 0 : bits
  return Math.ceil((elementCount(shape) * bits) / 8) + granules * 4 + Math.ceil((granules * zeroPointBits) / 8)
}

/** Bytes of a site's weight before anything was done to it. */
export function weightBytes({ weight }: Pick<Site, 'weight'>): number {
  return weight.bytes ?? weight.rows * weight.columns * bytesPerElement(weight.dtype)
}

/** {@link schemeBytes} of a tensor at hand. */
export function qTensorBytes(q: QTensor): number {
  return schemeBytes(q.scheme, q.shape)
}
