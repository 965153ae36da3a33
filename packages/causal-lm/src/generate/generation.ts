import { LowbitError } from '@lowbit/core'
import type { ChatMessage, ChatOptions, Tokenizer } from '../tokenizer/index.js'
import { Breath } from './breathe.js'
import type { DecoderSession } from './decoder-session.js'
import type { GenerationRecord } from './generation-record.js'
import { createSampler, resolveSampling, type Sampling, type SamplingOptions } from './sampling.js'
import { StopStrings } from './stop-strings.js'

export interface GenerateOptions extends SamplingOptions {
  /** Most new tokens. Default 256, or what the context leaves. Asking for more than the context leaves is refused. */
  readonly maxTokens?: number
  /** The text ends before the first of these strings. */
  readonly stop?: string | readonly string[]
  readonly signal?: AbortSignal
  /** For a conversation: variables and tools of the template. */
  readonly chat?: ChatOptions
  /** Tokens of the prompt that have been read. */
  readonly onPrompt?: (done: number, total: number) => void
  /** Gets one record when the generation has ended, however it ended. */
  readonly log?: (record: GenerationRecord) => void | Promise<void>
}

/** One new token. `text` is what it adds: empty while characters or stop strings are not whole yet. */
export interface GeneratedToken {
  readonly token: number
  readonly text: string
}

export type FinishReason =
  /** The model ended the text. */
  | 'end'
  /** A stop string was met. */
  | 'stop'
  /** `maxTokens` were made. */
  | 'length'

export interface GenerationResult {
  readonly text: string
  /** New tokens; the one that ended the text is not among them. */
  readonly tokens: readonly number[]
  readonly finish: FinishReason
  readonly promptTokens: number
  /** Of the prompt, how many the caches held already. */
  readonly reusedTokens: number
  /** Milliseconds to the first token, and from there to the end. */
  readonly promptMs: number
  readonly decodeMs: number
  /** New tokens a second after the first; 0 if there was only one. */
  readonly tokensPerSecond: number
  readonly seed: number
}

/** What a generation runs on. */
export interface GenerationContext {
  readonly session: DecoderSession
  readonly tokenizer: Tokenizer
  /** Tokens that end a text, those of the tokenizer among them. */
  readonly ends: ReadonlySet<number>
  /** For the log. */
  readonly model: { readonly name: string; readonly hash: string }
  /** Taken while it runs: caches serve one generation at a time. */
  readonly lock: { isTaken: boolean }
}

const DEFAULT_TOKENS = 256

/** A text being made: iterate over its tokens, or await its result. */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly #source: AsyncGenerator<GeneratedToken, GenerationResult | undefined>
  #result: GenerationResult | undefined

  constructor(source: AsyncGenerator<GeneratedToken, GenerationResult | undefined>) {
    this.#source = source
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    try {
      for (;;) {
        const { value, done } = await this.#source.next()
        if (done === true) {
          this.#result ??= value
          return
        }
        yield value
      }
    } finally {
      // Leaving the loop early ends the generation.
      await this.#source.return(undefined)
    }
  }

  /** Makes what is left and gives the whole. @throws LOWBIT_ABORTED, or what the model throws. */
  async result(): Promise<GenerationResult> {
    for await (const token of this) void token
    if (this.#result === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'generation', found: 'it was left before its end', expected: 'one that is whole', fix: 'count the tokens in the loop instead' })
    return this.#result
  }
}

/** Tokens of a prompt: text, a conversation through the model's template, or tokens as they are. @throws LOWBIT_ARGUMENT, LOWBIT_DATA. */
export function promptTokens(tokenizer: Tokenizer, prompt: string | readonly ChatMessage[] | readonly number[], chat: ChatOptions | undefined): readonly number[] {
  if (typeof prompt === 'string') return tokenizer.encode(prompt)
  if (prompt.every((item): item is number => typeof item === 'number')) return prompt
  const messages = prompt.filter((item): item is ChatMessage => typeof item === 'object')
  if (tokenizer.chat === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'prompt', found: 'a conversation for a model without a chat template', expected: 'a text', fix: 'pass the text as one string' })
  // Templates write the first token themselves, as transformers expects of them.
  return tokenizer.encode(tokenizer.chat.render(messages, chat), { bos: false, special: true })
}

/** Begins a generation; nothing is computed before the first token is asked for. @throws LOWBIT_ARGUMENT, LOWBIT_LIMIT at once. */
export function beginGeneration(context: GenerationContext, prompt: string | readonly ChatMessage[] | readonly number[], options: GenerateOptions): Generation {
  const sampling = resolveSampling(options)
  const stops = options.stop === undefined ? [] : typeof options.stop === 'string' ? [options.stop] : options.stop
  const stop = new StopStrings(stops)
  const tokens = promptTokens(context.tokenizer, prompt, options.chat)
  if (tokens.length === 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'prompt', found: 'no tokens', expected: 'at least one', fix: 'this model has no token to begin with: give it a text' })
  const room = context.session.context - tokens.length
  if (room < 1) throw new LowbitError('LOWBIT_LIMIT', { thing: 'prompt', found: `${tokens.length} tokens`, expected: `fewer than the context of ${context.session.context}`, fix: 'shorten it, or open the model with a longer context' })
  const { maxTokens = Math.min(DEFAULT_TOKENS, room) } = options
  if (!Number.isInteger(maxTokens) || maxTokens < 1) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'maxTokens', found: String(maxTokens), expected: 'a whole number of at least 1' })
  if (maxTokens > room) throw new LowbitError('LOWBIT_LIMIT', { thing: 'maxTokens', found: `${tokens.length} tokens of prompt and ${maxTokens} new ones`, expected: `at most ${context.session.context} together`, fix: `ask for at most ${room}, or open the model with a longer context` })
  return new Generation(run(context, prompt, tokens, { ...options, maxTokens }, sampling, stop))
}

async function* run(context: GenerationContext, prompt: string | readonly ChatMessage[] | readonly number[], tokens: readonly number[], options: GenerateOptions & { readonly maxTokens: number }, sampling: Sampling, stop: StopStrings): AsyncGenerator<GeneratedToken, GenerationResult | undefined> {
  const { session, tokenizer, ends, lock } = context
  if (lock.isTaken) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'generation', found: 'another one of this model is running', expected: 'one at a time', fix: 'finish or leave the other, or open a session of its own' })
  lock.isTaken = true
  const made: number[] = []
  let text = ''
  let finish: FinishReason | undefined
  let failure: 'aborted' | 'failed' | undefined
  let reusedTokens = 0
  const start = performance.now()
  let first = start
  const times = (): Pick<GenerationResult, 'promptMs' | 'decodeMs' | 'tokensPerSecond'> => {
    const decodeMs = made.length > 0 ? performance.now() - first : 0
    return { promptMs: first - start, decodeMs, tokensPerSecond: made.length > 1 ? ((made.length - 1) / decodeMs) * 1000 : 0 }
  }
  try {
    const sampler = createSampler(sampling)
    const stream = tokenizer.stream({ skipSpecial: true })
    const breath = new Breath()
    reusedTokens = session.keep(tokens)
    const rest = tokens.slice(reusedTokens)
    const { signal, onPrompt } = options
    let logits = await session.extend(rest, { signal, onRun: (done) => onPrompt?.(reusedTokens + done, tokens.length) })
    for (;;) {
      const token = sampler.next(logits, session.tokens)
      if (made.length === 0) first = performance.now()
      if (ends.has(token)) {
        finish = 'end'
        break
      }
      made.push(token)
      const piece = stop.push(stream.push(token))
      text += piece
      yield { token, text: piece }
      if (stop.found !== undefined) finish = 'stop'
      else if (made.length >= options.maxTokens) finish = 'length'
      if (finish !== undefined) break
      logits = await session.extend([token], { signal })
      await breath.take()
    }
    const tail = stop.push(stream.end()) + stop.end()
    if (tail !== '' && finish !== 'stop') {
      text += tail
      // The characters that were held back belong to the last token.
      yield { token: made[made.length - 1], text: tail }
    }
    return { text, tokens: made, finish, promptTokens: tokens.length, reusedTokens, ...times(), seed: sampling.seed }
  } catch (error) {
    failure = options.signal?.aborted === true ? 'aborted' : 'failed'
    throw error
  } finally {
    lock.isTaken = false
    await options.log?.({
      time: new Date().toISOString(),
      model: context.model.name,
      hash: context.model.hash,
      prompt: prompt.slice(),
      settings: { ...sampling, maxTokens: options.maxTokens, stop: options.stop ?? [] },
      promptTokens: tokens.length,
      reusedTokens,
      tokens: made,
      text,
      finish: failure ?? finish ?? 'left',
      ...times(),
    })
  }
}
