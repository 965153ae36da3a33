import { referenceOps, referenceValues, type ReferenceTensor, type TrainingBackend } from '@lowbit/core'

/** The reference operations as a training backend; nothing there has to be freed. */
export function referenceTraining(precision: 'float32' | 'float64' = 'float32'): TrainingBackend<ReferenceTensor> {
  return {
    ...referenceOps({ precision }),
    name: 'reference',
    scope: (f) => f(),
    keep: (x) => x,
    release: () => undefined,
    alive: () => 0,
    read: (x) => Promise.resolve(Float32Array.from(referenceValues(x))),
  }
}
