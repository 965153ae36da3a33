import { LowbitError, resolveOptions, type DeclarationsOf } from '@lowbit/core'

/** What decides the course of a training, as plain data: a checkpoint belongs to one of these. */
export interface FineTuneSettings {
  readonly steps?: number
  /** Windows whose gradients are computed together. */
  readonly batch?: number
  /** Batches of one step: gradients are summed. */
  readonly accumulate?: number
  readonly learningRate?: number
  readonly warmup?: number
  readonly finalRate?: number
  readonly weightDecay?: number
  readonly scaleRate?: number
  readonly beta1?: number
  readonly beta2?: number
  readonly clip?: number
  readonly seed?: number
  readonly evaluateEvery?: number
  readonly patience?: number
}

/** What {@link FineTuneSettings} take. */
export const FINE_TUNE_OPTIONS = {
  steps: { type: 'integer', minimum: 1, default: 100, about: 'updates of the weights' },
  batch: { type: 'integer', minimum: 1, default: 8, about: 'windows whose gradients are computed together' },
  accumulate: { type: 'integer', minimum: 1, default: 1, about: 'batches of one update' },
  learningRate: { type: 'number', minimum: 0, default: 1e-3, about: 'at its highest' },
  warmup: { type: 'integer', minimum: 0, otherwise: 'a tenth of the steps, 10 at most', about: 'updates in which the learning rate rises' },
  finalRate: { type: 'number', minimum: 0, maximum: 1, default: 0.1, about: 'what half a cosine takes the learning rate down to, as a share of it' },
  weightDecay: { type: 'number', minimum: 0, default: 0, about: 'of matrices and adapters' },
  scaleRate: { type: 'number', minimum: 0, default: 1, about: 'learning rate of learned scales, as a multiple' },
  beta1: { type: 'number', minimum: 0, maximum: 1, default: 0.9, about: 'Adam’s memory of gradients' },
  beta2: { type: 'number', minimum: 0, maximum: 1, default: 0.95, about: 'Adam’s memory of their squares' },
  clip: { type: 'number', minimum: 0, default: 1, about: 'largest norm of all gradients; 0: any' },
  seed: { type: 'integer', minimum: 0, default: 1, about: 'order of the windows' },
  evaluateEvery: { type: 'integer', minimum: 1, default: 50, about: 'updates from one evaluation to the next' },
  patience: { type: 'integer', minimum: 0, default: 0, about: 'evaluations without a better one after which training stops; 0: never' },
} as const satisfies DeclarationsOf<FineTuneSettings>

/** @throws LOWBIT_ARGUMENT naming the setting. */
export function fineTuneSettings(settings: FineTuneSettings): Required<FineTuneSettings> {
  const given = resolveOptions<FineTuneSettings, typeof FINE_TUNE_OPTIONS>(FINE_TUNE_OPTIONS, settings, 'fineTune')
  const all = { ...given, warmup: given.warmup ?? Math.min(10, Math.floor(given.steps / 10)) }
  if (all.warmup > all.steps) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'fineTune: warmup', found: String(all.warmup), expected: `at most the ${all.steps} steps of the training` })
  return all
}
