/** What one run of a contender gives. */
export interface Speed {
  readonly openMs: number
  readonly firstMs: number
  /** Tokens a second reading the prompt, and making new ones. */
  readonly prefill: number
  readonly decode: number
  readonly rss: number
  /** What the process grew by at most over an empty one, and what of that are weights and caches, in bytes. */
  readonly grown?: number
  readonly held?: number
  readonly cache?: number
  readonly engine?: string
}

/** The best figure of each kind: other programs only add to a time. */
export function best(runs: readonly Speed[]): Speed {
  const least = (of: (run: Speed) => number): number => Math.min(...runs.map(of))
  const most = (of: (run: Speed) => number): number => Math.max(...runs.map(of))
  const [first] = runs
  if (first === undefined) throw new RangeError('no runs')
  return { ...first, openMs: least((r) => r.openMs), firstMs: least((r) => r.firstMs), prefill: most((r) => r.prefill), decode: most((r) => r.decode), rss: least((r) => r.rss), ...(first.grown === undefined ? {} : { grown: least((r) => r.grown ?? Infinity) }) }
}
