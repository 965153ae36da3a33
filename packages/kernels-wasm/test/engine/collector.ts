import type { TestRunner } from '@lowbit/core/testkit'

/** A test runner without a test framework: collects tests, then runs them one after another. */
export class Collector implements TestRunner {
  readonly #tests: { name: string; body: () => void | Promise<void> }[] = []
  readonly #path: string[] = []

  readonly describe = (name: string, body: () => void): void => {
    this.#path.push(name)
    body()
    this.#path.pop()
  }

  readonly it = (name: string, body: () => void | Promise<void>): void => {
    this.#tests.push({ name: [...this.#path, name].join(' › '), body })
  }

  async run(): Promise<{ readonly tests: number; readonly failures: readonly string[] }> {
    const failures: string[] = []
    for (const { name, body } of this.#tests) {
      try {
        await body()
      } catch (error) {
        failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    return { tests: this.#tests.length, failures }
  }
}
