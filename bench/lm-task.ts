/** A run of one contender. */
export interface Task {
  readonly who: 'ours' | 'llama' | 'ours-chromium' | 'wllama'
  readonly file: 'Q4_1' | 'Q4_0' | 'F32'
  readonly threads: number
  readonly prompt: number
  readonly fresh: number
  readonly before: number
  /** What float matrices become while loading. */
  readonly weights?: 'int4' | 'ternary'
}

/** The name that its figures are kept under. */
export const keyOf = ({ who, file, threads, prompt, before, weights }: Task): string => [who, weights ?? file, `${threads} threads`, `${before}+${prompt}`].join(', ')
