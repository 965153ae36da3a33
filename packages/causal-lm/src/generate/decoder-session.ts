import { LowbitError, throwIfAborted, type CompiledProgram } from '@lowbit/core'
import { Breath } from './breathe.js'

/** A compiled decoder with the tokens that its caches hold. */
export class DecoderSession implements Disposable {
  readonly #compiled: CompiledProgram
  #tokens: number[] = []

  constructor(compiled: CompiledProgram) {
    this.#compiled = compiled
  }

  /** Positions there are. */
  get context(): number {
    return this.#compiled.program.context
  }

  /** Bytes of buffers and caches. */
  get bytes(): number {
    return this.#compiled.bytes
  }

  /** Most tokens of a run, and most of them that logits can be wanted for. */
  get limits(): { readonly rows: number; readonly wanted: number } {
    return this.#compiled.program
  }

  /** What the caches hold. */
  get tokens(): readonly number[] {
    return this.#tokens
  }

  /**
   * Keeps what the caches share with a text, and forgets the rest.
   * @returns how many tokens of the text need not be computed; at least one is left, since logits come from it
   */
  keep(text: readonly number[]): number {
    let shared = 0
    while (shared < this.#tokens.length && shared < text.length - 1 && this.#tokens[shared] === text[shared]) shared++
    this.#tokens.length = shared
    return shared
  }

  /** Forgets everything from a position on. */
  truncate(length: number): void {
    this.#tokens.length = Math.min(this.#tokens.length, Math.max(0, length))
  }

  /**
   * Adds tokens, in runs of as many as the program takes, and gives the logits after the last one.
   * @throws LOWBIT_LIMIT past the context, before anything is computed; LOWBIT_ABORTED between runs
   */
  async extend(tokens: readonly number[], options: { readonly signal?: AbortSignal | undefined; readonly onRun?: (done: number) => void } = {}): Promise<Float32Array> {
    if (tokens.length === 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'tokens', found: 'none', expected: 'at least one' })
    const end = this.#tokens.length + tokens.length
    if (end > this.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'context', found: `${end} tokens`, expected: `at most ${this.context}`, fix: 'shorten the text, or open the model with a longer context' })
    const { rows } = this.limits
    const breath = new Breath()
    for (let at = 0; ; at += rows) {
      throwIfAborted(options.signal, 'generation')
      const piece = tokens.slice(at, at + rows)
      const isLast = at + rows >= tokens.length
      const { data } = await this.#compiled.run({ tokens: piece, start: this.#tokens.length, wanted: isLast ? 1 : 0 })
      this.#tokens.push(...piece)
      options.onRun?.(at + piece.length)
      if (isLast) return data
      await breath.take()
    }
  }

  /**
   * Adds tokens of one run and gives the logits after each of the last `wanted`, `[wanted, vocabulary]`.
   * @throws LOWBIT_LIMIT
   */
  async score(tokens: readonly number[], wanted: number): Promise<Float32Array> {
    const { data } = await this.#compiled.run({ tokens, start: this.#tokens.length, wanted })
    this.#tokens.push(...tokens)
    return data
  }

  dispose(): void {
    this.#compiled.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
