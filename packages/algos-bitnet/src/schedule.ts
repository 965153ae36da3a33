import { resolveOptions, type DeclarationsOf } from '@lowbit/core'

/** The settings of a BitNet training, a step at a time. */
export interface BitNetStep {
  readonly learningRate: number
  readonly weightDecay: number
}

export interface BitNetScheduleOptions {
  /** Steps of the whole training. */
  readonly steps: number
  /** Peak learning rate of the first stage. Default 1.5e-3, the authors' for 700M weights; small models take more. */
  readonly learningRate?: number
  /** Peak learning rate of the second stage. Default two thirds of the first (1.5e-3 → 1e-3). */
  readonly secondLearningRate?: number
  /** Default 375, but no more than a tenth of the steps. */
  readonly warmupSteps?: number
  /** Weight decay of the first stage; the second has none. Default 0.1. */
  readonly weightDecay?: number
  /** Share of the training after which the second stage begins. Default 0.5. */
  readonly split?: number
}

/** What {@link bitnetSchedule} takes. */
export const BITNET_SCHEDULE_OPTIONS = {
  steps: { type: 'integer', minimum: 0, required: true, about: 'steps of the whole training' },
  learningRate: { type: 'number', minimum: 0, default: 1.5e-3, about: 'peak learning rate of the first stage' },
  secondLearningRate: { type: 'number', minimum: 0, otherwise: 'two thirds of the first', about: 'peak learning rate of the second stage' },
  warmupSteps: { type: 'integer', minimum: 0, otherwise: '375, at most a tenth of the steps', about: 'steps in which the learning rate rises' },
  weightDecay: { type: 'number', minimum: 0, default: 0.1, about: 'weight decay of the first stage' },
  split: { type: 'number', minimum: 0, maximum: 1, default: 0.5, about: 'share of the training after which the second stage begins' },
} as const satisfies DeclarationsOf<BitNetScheduleOptions>

/** Adam's β of the authors' recipe. */
export const BITNET_ADAM = { beta1: 0.9, beta2: 0.95 } as const

/**
 * The training recipe of BitNet b1.58's authors (training tips, Ma et al. 2024): after a warm-up the learning rate falls linearly;
 * halfway it drops to the line of a lower peak, and weight decay ends. Ternary codes settle in the second stage.
 * @throws LOWBIT_ARGUMENT naming the option
 */
export function bitnetSchedule(options: BitNetScheduleOptions): (step: number) => BitNetStep {
  const filled = resolveOptions<BitNetScheduleOptions, typeof BITNET_SCHEDULE_OPTIONS>(BITNET_SCHEDULE_OPTIONS, options, 'bitnetSchedule')
  const { steps, learningRate, secondLearningRate = (learningRate * 2) / 3, warmupSteps = Math.min(375, Math.floor(steps / 10)), weightDecay, split } = filled
  return (step) => {
    const done = steps > 0 ? Math.min(step / steps, 1) : 1
    const first = done < split
    const warm = warmupSteps > 0 ? Math.min((step + 1) / warmupSteps, 1) : 1
    return { learningRate: (first ? learningRate : secondLearningRate) * (1 - done) * warm, weightDecay: first ? weightDecay : 0 }
  }
}

/** `λ = min(step / steps, 1)`: the share of the rounding that is applied when a float checkpoint becomes a BitNet. */
export function warmupLambda(step: number, steps: number): number {
  return steps > 0 ? Math.min(step / steps, 1) : 1
}
