import { divergedError, firstNonFinite, type NonFinite, type WatchedTensor } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import type { Prepared } from './prepare.js'

/** Callbacks for `model.fit`; for an own loop call them around each step. */
export interface DivergenceGuard {
  onBatchBegin(): void
  /** @throws LOWBIT_NONFINITE naming the step, the layer and the first bad tensor. */
  onBatchEnd(batch: number, logs?: { readonly [name: string]: unknown }): void
  /** Frees what is kept of the last step. */
  dispose(): void
}

/**
 * Stops a training whose loss is no longer finite: says where it broke, and puts the weights back to what they were before that step.
 * Keeps the weights of one step, without copying them.
 */
export function stopOnDivergence(tf: TfCore, prepared: Prepared): DivergenceGuard {
  let kept: { readonly variable: Watched; readonly value: Tensor }[] = []
  const dispose = (): void => {
    for (const { value } of kept) value.dispose()
    kept = []
  }
  return {
    onBatchBegin() {
      dispose()
      kept = variablesOf(prepared).map((variable) => ({ variable, value: tf.keep(tf.clone(variable.weight.read())) }))
    },
    onBatchEnd(_batch, logs) {
      const loss = Number(logs?.['loss'])
      if (Number.isFinite(loss)) return
      // What was bad before the step explains it; else what the step left does.
      const bad = firstBad(kept.map(({ variable, value }) => watched(variable, value))) ?? firstBad(variablesOf(prepared).map((v) => watched(v, v.weight.read()))) ?? badFakeWeight(prepared)
      for (const { variable, value } of kept) variable.weight.write(value)
      dispose()
      throw divergedError(Math.max(prepared.step - 1, 0), loss, bad)
    },
    dispose,
  }
}

interface Watched {
  readonly layer: string
  readonly name: string
  readonly weight: { read(): Tensor; write(value: Tensor): unknown }
}

function variablesOf(prepared: Prepared): Watched[] {
  return prepared.model.layers.flatMap((layer) => layer.weights.map((weight): Watched => ({ layer: layer.name, name: weight.originalName, weight })))
}

const watched = ({ layer, name }: Watched, value: Tensor): WatchedTensor => ({ layer, what: `variable '${name}'`, values: value.dataSync<'float32'>() })

const firstBad = (tensors: readonly WatchedTensor[]): NonFinite | undefined => firstNonFinite(tensors)

/** A scale that left its range gives bad weights though the latent ones are sound. */
function badFakeWeight(prepared: Prepared): NonFinite | undefined {
  return firstNonFinite(prepared.sites.filter(({ weight }) => weight !== undefined).map(({ site }) => ({ layer: site.id, what: 'fake-quantized weight', values: prepared.fakeWeight(site.id).data })))
}
