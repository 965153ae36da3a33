import { divergedError, firstNonFinite } from '@lowbit/core'
import type { Prepared } from './prepare.js'

/**
 * Stops a training that diverged: call it with each step's loss.
 * @throws LOWBIT_NONFINITE naming the step, the layer and the first bad tensor, if the loss is not finite.
 */
export function checkLoss(prepared: Prepared, loss: number): void {
  if (!Number.isFinite(loss)) throw divergedError(prepared.step - 1, loss, firstNonFinite(prepared.watched()))
}
