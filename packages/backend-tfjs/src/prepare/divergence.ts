import { divergedError, firstNonFinite, type NonFinite, type WatchedTensor } from '@lowbit/core'
import type { CustomCallbackArgs } from '@tensorflow/tfjs-layers'
import { noTape } from '../ops/no-tape.js'
import type { Tensor, TfCore } from '../tf.js'
import type { Prepared } from './prepare.js'

/**
 * A callback for `model.fit`, alone or beside others such as `tf.callbacks.earlyStopping`; in an own loop call `onBatchBegin` before
 * each step and `check` with its loss after it.
 */
export interface DivergenceGuard extends CustomCallbackArgs {
  onBatchBegin(): Promise<void>
  /** As `check`, with the loss that `fit` gives. */
  onBatchEnd(batch: number, logs?: Logs): Promise<void>
  /** @throws LOWBIT_NONFINITE naming the step, the layer and the first bad tensor, if the loss or anything behind it is not finite. */
  check(loss: number): void
  /** Frees what is kept of the last step, and stops watching. */
  dispose(): void
}

type Logs = Parameters<NonNullable<CustomCallbackArgs['onBatchEnd']>>[1]

/**
 * Stops a training as soon as a step holds NaN or an infinity: says where it broke, and puts the weights back to what they were before that step.
 * The loss alone does not tell: some backends (wasm) lose NaN in a maximum, so that a softmax of it gives the loss of a blind guess.
 * Keeps the weights of one step, without copying them, and a sum of each prepared layer's tensors; reads one number a step.
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
  /** One number that is finite if all that was watched and all weights are: nothing else times 0 is not 0. */
  const health = (): Tensor =>
    tf.tidy(() => {
      const weights = variablesOf(prepared).map(({ weight }) => noTape(tf, () => tf.sum(tf.mul(tf.cast(weight.read(), 'float32'), 0))))
      return [...prepared.watchedSums(), ...weights].reduce((sum: Tensor, x) => tf.add(sum, tf.mul(x, 0)), tf.scalar(0))
    })
  const judge = (loss: number, sum: number): void => {
    if (Number.isFinite(loss) && Number.isFinite(sum)) return
    const bad = (unwatch === undefined ? undefined : badInStep(prepared, kept)) ?? (unwatch === undefined || Number.isFinite(loss) ? badVariable(prepared) : undefined)
    for (const { variable, value } of kept) variable.weight.write(value)
    dispose()
    throw divergedError(Math.max(prepared.step - 1, 0), loss, bad)
  }
  const begin = (): void => {
    forget()
    unwatch ??= prepared.watch()
    kept = variablesOf(prepared).map((variable) => ({ variable, value: tf.keep(tf.clone(variable.weight.read())) }))
  }
  const guard: DivergenceGuard = {
    async onBatchBegin() {
      begin()
    },
    async onBatchEnd(_batch, logs) {
      const sum = health()
      const [total] = await sum.data()
      sum.dispose()
      judge(await lossOf(logs), total)
    },
    check(loss) {
      judge(loss, tf.tidy(() => health().dataSync()[0]))
    },
    dispose,
  }
  // `fit` tells a list of its own callbacks from a list of plain objects by the first one: beside earlyStopping this has to be one of them.
  return hasCallback(tf) ? Object.assign(new tf.Callback(), guard) : guard
}

/** Plain objects are told the loss as a number, callbacks of tfjs's own class as a tensor. */
async function lossOf(logs: { readonly [name: string]: unknown } | undefined): Promise<number> {
  const loss = logs?.['loss']
  return isTensor(loss) ? Number((await loss.data())[0]) : Number(loss)
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'data' in value && typeof value.data === 'function'
}

function hasCallback(tf: object): tf is { readonly Callback: new () => object } {
  return 'Callback' in tf && typeof tf.Callback === 'function'
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
