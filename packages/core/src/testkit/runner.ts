/** The test runner's functions, injected: vitest, node:test and jest all have these two. */
export interface TestRunner {
  describe(name: string, body: () => void): void
  it(name: string, body: () => void | Promise<void>): void
}

/** One thing a suite left out because the manifest (`supports`) says the plugin cannot do it. */
export interface Skipped {
  readonly test: string
  readonly reason: string
}

/** Fails with a sentence: the testkit has no assertion library of its own. */
export function check(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new Error(sentence)
}
