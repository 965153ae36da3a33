import { divergedError, firstNonFinite, type NonFinite, type WatchedTensor } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import type { Prepared } from './prepare.js'

/** Callbacks for `model.fit`; in an own loop call `onBatchBegin` before each step and `check` with its loss. */
export interface DivergenceGuard {
  onBatchBegin(): void
  /** As `check`, with the loss that `fit` gives. */
  onBatchEnd(batch: number, logs?: { readonly [name: string]: unknown }): void
  /** @throws LOWBIT_NONFINITE naming the step, the layer and the first bad tensor, if the loss is not finite. */
  check(loss: number): void
  /** Frees what is kept of the last step, and stops watching. */
  dispose(): void
}

/**
 * Stops a training whose loss is no longer finite: says where it broke, and puts the weights back to what they were before that step.
 * Keeps the weights of one step, without copying them, and a sum of each prepared layer's tensors.
 */
export function stopOnDivergence(tf: TfCore, prepared: Prepared): DivergenceGuard {
  let kept: { readonly variable: Watched; readonly value: Tensor }[] = []
  let unwatch: (() => void) | undefined
  const forget = (): void => {
    for (const { value } of kept) value.dispose()
    kept = []
  }
  const dispose = (): void => {
    forget()
    unwatch?.()
    unwatch = undefined
  }
  const check = (loss: number): void => {
    if (Number.isFinite(loss)) return
    const bad = unwatch === undefined ? badVariable(prepared) : badInStep(prepared, kept)
    for (const { variable, value } of kept) variable.weight.write(value)
    dispose()
    throw divergedError(Math.max(prepared.step - 1, 0), loss, bad)
  }
  return {
    onBatchBegin() {
      forget()
      unwatch ??= prepared.watch()
      kept = variablesOf(prepared).map((variable) => ({ variable, value: tf.keep(tf.clone(variable.weight.read())) }))
    },
    onBatchEnd: (_batch, logs) => check(Number(logs?.['loss'])),
    check,
    dispose,
  }
}

interface Watched {
  readonly layer: string
  readonly name: string
  readonly weight: { read(): Tensor; write(value: Tensor): unknown }
}

/**
 * What was bad before the step explains it; else the first tensor of its forward pass. What the step left is not looked at: by the
 * time a loss is known the optimizer has spread it over all weights. Nothing found: the targets or the loss function gave it.
 */
function badInStep(prepared: Prepared, kept: readonly { readonly variable: Watched; readonly value: Tensor }[]): NonFinite | undefined {
  return firstNonFinite(kept.map(({ variable, value }) => watched(variable, value))) ?? firstNonFinite(prepared.watched())
}

/** All that is left to look at where the step was not watched. */
function badVariable(prepared: Prepared): NonFinite | undefined {
  return firstNonFinite(variablesOf(prepared).map((v) => watched(v, v.weight.read()))) ?? badFakeWeight(prepared)
}

function variablesOf(prepared: Prepared): Watched[] {
  return prepared.model.layers.flatMap((layer) => layer.weights.map((weight): Watched => ({ layer: layer.name, name: weight.originalName, weight })))
}

const watched = ({ layer, name }: Watched, value: Tensor): WatchedTensor => ({ layer, what: `variable '${name}'`, values: value.dataSync<'float32'>() })

/** A scale that left its range gives bad weights though the latent ones are sound. */
function badFakeWeight(prepared: Prepared): NonFinite | undefined {
  return firstNonFinite(prepared.sites.filter(({ weight }) => weight !== undefined).map(({ site }) => ({ layer: site.id, what: 'fake-quantized weight', values: prepared.fakeWeight(site.id).data })))
}
