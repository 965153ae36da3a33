/** Sequences of equal length, with the token that follows each, and how much it counts. */
export interface TokenBatch {
  readonly inputs: readonly (readonly number[])[]
  readonly targets: readonly (readonly number[])[]
  /** 0 for what is not learned: prompts, padding. */
  readonly weights: readonly (readonly number[])[]
}

export const weightOf = ({ weights }: Pick<TokenBatch, 'weights'>): number => weights.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0)
