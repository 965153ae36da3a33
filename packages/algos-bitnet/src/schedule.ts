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

/** Adam's β of the authors' recipe. */
export const BITNET_ADAM = { beta1: 0.9, beta2: 0.95 } as const

/**
 * The training recipe of BitNet b1.58's authors (training tips, Ma et al. 2024): after a warm-up the learning rate falls linearly;
 * halfway it drops to the line of a lower peak, and weight decay ends. Ternary codes settle in the second stage.
 */
export function bitnetSchedule(options: BitNetScheduleOptions): (step: number) => BitNetStep {
  const { steps, learningRate = 1.5e-3, secondLearningRate = (learningRate * 2) / 3, warmupSteps = Math.min(375, Math.floor(steps / 10)), weightDecay = 0.1, split = 0.5 } = options
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
