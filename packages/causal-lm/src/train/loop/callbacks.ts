/** Numbers of a step or an evaluation, by name. */
export type TrainingLogs = Readonly<Record<string, number>>

/**
 * What looks on while a model is trained. A `Callback` of TensorFlow.js is one: a step is its batch, an evaluation ends its epoch,
 * and its early stopping stops the training.
 */
export interface TrainingCallback {
  onTrainBegin?(logs?: TrainingLogs): unknown
  onBatchBegin?(batch: number, logs?: TrainingLogs): unknown
  onBatchEnd?(batch: number, logs?: TrainingLogs): unknown
  onEpochEnd?(epoch: number, logs?: TrainingLogs): unknown
  onTrainEnd?(logs?: TrainingLogs): unknown
}

/** Calls all of them in their order, and knows whether one has asked to stop. */
export class Callbacks {
  readonly #callbacks: readonly TrainingCallback[]
  readonly #model = { stopTraining: false }

  constructor(callbacks: readonly TrainingCallback[]) {
    this.#callbacks = callbacks
    // Those of tfjs ask by a member of the model that they were given.
    for (const callback of callbacks) if (typeof Reflect.get(callback, 'setModel') === 'function') Reflect.set(callback, 'model', this.#model)
  }

  get stops(): boolean {
    return this.#model.stopTraining
  }

  async trainBegin(): Promise<void> {
    for (const callback of this.#callbacks) await callback.onTrainBegin?.({})
  }

  async batchBegin(step: number): Promise<void> {
    for (const callback of this.#callbacks) await callback.onBatchBegin?.(step, {})
  }

  async batchEnd(step: number, logs: TrainingLogs): Promise<void> {
    for (const callback of this.#callbacks) await callback.onBatchEnd?.(step, logs)
  }

  async epochEnd(epoch: number, logs: TrainingLogs): Promise<void> {
    for (const callback of this.#callbacks) await callback.onEpochEnd?.(epoch, logs)
  }

  async trainEnd(): Promise<void> {
    for (const callback of this.#callbacks) await callback.onTrainEnd?.({})
  }
}
