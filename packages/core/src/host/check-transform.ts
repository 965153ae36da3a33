import type { Transform } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'

/**
 * Checks that a scale or rotation fits a group or stream of so many channels.
 * @throws LOWBIT_SHAPE for another number of channels, LOWBIT_ARGUMENT for scales that are not positive, signs and orders that are none
 */
export function checkTransform(transform: Exclude<Transform, { readonly kind: 'clip' }>, channels: number, thing: string): void {
  const { kind } = transform
  const given = kind === 'scale' ? transform.scales : transform.signs
  if (given.length !== channels) throw new LowbitError('LOWBIT_SHAPE', { thing: `${kind} of ${thing}`, found: `${given.length} channels`, expected: `${channels}` })
  if (kind === 'scale') {
    const at = transform.scales.findIndex((s) => !(s > 0 && Number.isFinite(s)))
    if (at >= 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `scale of ${thing}`, found: `${transform.scales[at]} in channel ${at}`, expected: 'positive, finite numbers' })
    return
  }
  const { signs, order } = transform
  if (!Number.isInteger(order) || order < 1 || channels % order !== 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `rotation of ${thing}`, found: `order ${order}`, expected: `a whole number that divides ${channels}` })
  const odd = signs.find((s) => s !== 1 && s !== -1)
  if (odd !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `rotation of ${thing}`, found: `sign ${odd}`, expected: '1 or -1' })
}
