import { divergedError, firstNonFinite, type WatchedTensor } from '@lowbit/core'
import type { Prepared } from './prepare.js'

/**
 * Stops a training that diverged: call it with each step's loss.
 * @throws LOWBIT_NONFINITE naming the step, the layer and the first bad tensor, if the loss is not finite.
 */
export function checkLoss(prepared: Prepared, loss: number): void {
  if (Number.isFinite(loss)) return
  throw divergedError(prepared.step - 1, loss, firstNonFinite(watched(prepared)))
}

function* watched(prepared: Prepared): Generator<WatchedTensor> {
  for (const { site, weight, activation } of prepared.sites) {
    yield { layer: site.id, what: 'weight', values: site.variable.read().dataSync<'float32'>() }
    for (const part of [weight, activation]) for (const name of part?.held.names ?? []) yield { layer: site.id, what: part === weight ? `weight's ${name}` : `activation's ${name}`, values: part?.held.read(name) ?? [] }
    yield { layer: site.id, what: 'fake-quantized weight', values: prepared.fakeWeight(site.id).data }
  }
}
