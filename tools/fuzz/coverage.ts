import { Session } from 'node:inspector/promises'

/** Branches of the packages' sources that ran, counted by V8. */
export class Coverage {
  readonly #session = new Session()

  async start(): Promise<void> {
    this.#session.connect()
    await this.#session.post('Profiler.enable')
    await this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** Ranges that ran since the last time, by name. */
  async take(): Promise<{ readonly reached: readonly string[]; readonly known: readonly string[] }> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage')
    const reached: string[] = []
    const known: string[] = []
    for (const { url, functions } of result) {
      const file = /\/(packages\/[^/]+\/src\/.*)$/.exec(url)?.[1]
      if (file === undefined) continue
      for (const { ranges } of functions) for (const { startOffset, endOffset, count } of ranges) {
        const name = `${file}:${startOffset}-${endOffset}`
        known.push(name)
        if (count > 0) reached.push(name)
      }
    }
    return { reached, known }
  }
}
