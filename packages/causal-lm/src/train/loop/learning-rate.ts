export interface LearningRateOptions {
  /** Of the whole training. */
  readonly steps: number
  readonly peak: number
  /** Steps in which it rises from 0. */
  readonly warmup: number
  /** What it ends at, as a share of the peak. */
  readonly final: number
}

/** A linear rise, then half a cosine down to the end. */
export function learningRateAt(step: number, { steps, peak, warmup, final }: LearningRateOptions): number {
  if (step < warmup) return (peak * (step + 1)) / warmup
  const done = steps <= warmup ? 1 : Math.min(1, (step - warmup) / Math.max(1, steps - warmup))
  return peak * (final + ((1 - final) * (1 + Math.cos(Math.PI * done))) / 2)
}
