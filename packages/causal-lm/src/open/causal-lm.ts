import { LowbitError, type CacheType, type CompiledProgram, type PackedWeights, type SyncKernelProvider } from '@lowbit/core'
import type { LoraAdapter } from '../adapter/lora-adapter.js'
import { withAdapter } from '../adapter/with-adapter.js'
import type { ModelConfig } from '../config/model-config.js'
import { compileFloat } from '../forward/float-program.js'
import { decoderProgram } from '../forward/decoder-program.js'
import { rotationTables } from '../forward/rotation-tables.js'
import { DecoderSession } from '../generate/decoder-session.js'
import { beginGeneration, type GenerateOptions, type Generation } from '../generate/generation.js'
import type { LoadedMatrix, LoadedWeights } from '../load/load-weights.js'
import type { ChatMessage, Tokenizer } from '../tokenizer/index.js'
import type { ModelMatrix } from '../weights/matrix.js'

/** Weights where they are run. */
export type RunnableWeights =
  | { readonly kind: 'kernels'; readonly kernels: SyncKernelProvider; readonly loaded: LoadedWeights<PackedWeights>; readonly isOwn: boolean }
  | { readonly kind: 'float'; readonly loaded: LoadedWeights<ModelMatrix> }

export interface SessionOptions {
  /** Positions of the caches. Default: the model's. */
  readonly context?: number
  /** Tokens of one run. Default 128. */
  readonly rows?: number
  /** Tokens of one run that logits can be wanted for. Default 1. */
  readonly wanted?: number
  readonly cache?: CacheType
  readonly activations?: 'int8' | 'float32'
}

/** What a model was opened with. */
export interface CausalLmParts {
  readonly name: string
  readonly format: 'gguf' | 'huggingface' | 'llama2.c'
  readonly config: ModelConfig
  readonly tokenizer: Tokenizer | undefined
  /** Tokens that end a text, beside those of the tokenizer. */
  readonly ends: readonly number[]
  readonly weights: RunnableWeights
  /** Runs beside the weights. */
  readonly adapter?: LoraAdapter
  readonly defaults: Required<Pick<SessionOptions, 'context' | 'cache' | 'activations'>>
}

const ROWS = 128

/** A decoder language model that is open. `dispose` it, or `using`. */
export class CausalLm implements Disposable {
  readonly #parts: CausalLmParts
  readonly #lock = { isTaken: false }
  #session: DecoderSession | undefined
  #isDisposed = false

  constructor(parts: CausalLmParts) {
    this.#parts = parts
  }

  get name(): string {
    return this.#parts.name
  }

  get format(): CausalLmParts['format'] {
    return this.#parts.format
  }

  get config(): ModelConfig {
    return this.#parts.config
  }

  /** Undefined where the file has none and none was passed. */
  get tokenizer(): Tokenizer | undefined {
    return this.#parts.tokenizer
  }

  /** Positions that a generation has. */
  get context(): number {
    return this.#parts.defaults.context
  }

  get cache(): CacheType {
    return this.#parts.defaults.cache
  }

  /** What each matrix became in memory. */
  get matrices(): readonly LoadedMatrix[] {
    return this.#parts.weights.loaded.report
  }

  /** SHA-256 over structure, gains and the beginning of each matrix. */
  get hash(): string {
    return this.#parts.weights.loaded.hash
  }

  /** What runs it: `relaxed-simd, 2 threads`, or `plain TypeScript`. */
  get engine(): string {
    const { weights } = this.#parts
    if (weights.kind === 'float') return 'plain TypeScript'
    const { tier, threads } = weights.kernels.supports
    return `${tier}, ${threads} thread${threads === 1 ? '' : 's'}`
  }

  /**
   * A text, or a conversation through the model's template, goes on.
   *
   * Iterate over the tokens as they come, or await `result()`. What the caches share with the prompt is not computed again.
   * @throws LOWBIT_ARGUMENT, LOWBIT_LIMIT at once if prompt and new tokens do not fit the context; while it runs what the
   * kernels throw, and LOWBIT_ABORTED
   */
  generate(prompt: string | readonly ChatMessage[] | readonly number[], options: GenerateOptions = {}): Generation {
    const tokenizer = this.needTokenizer()
    this.#session ??= this.session()
    return beginGeneration({
      session: this.#session,
      tokenizer,
      ends: new Set([...tokenizer.eos, ...this.#parts.ends]),
      model: { name: this.name, hash: this.hash },
      lock: this.#lock,
    }, prompt, options)
  }

  /** Caches of its own, for those who feed tokens themselves. Dispose of it. @throws LOWBIT_LIMIT if memory does not suffice. */
  session(options: SessionOptions = {}): DecoderSession {
    if (this.#isDisposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: this.name, found: 'it was disposed of' })
    const { config, weights, adapter, defaults } = this.#parts
    const { context = defaults.context, rows = Math.min(ROWS, context), wanted = 1, cache = defaults.cache, activations = defaults.activations } = options
    if (!Number.isInteger(context) || context < 1 || context > config.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'context', found: String(context), expected: `1 to ${config.context}, which the model was trained for` })
    const bare = decoderProgram(config, { rows, wanted, context, cache, activations })
    const program = adapter === undefined ? bare : withAdapter(bare, adapter)
    const vectors = { ...weights.loaded.vectors, ...rotationTables(config, context) }
    return new DecoderSession(compile(weights, program, vectors))
  }

  /** @throws LOWBIT_ARGUMENT where there is none. */
  needTokenizer(): Tokenizer {
    const { tokenizer } = this.#parts
    if (tokenizer === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: this.name, found: 'no tokenizer', expected: 'one in the file, or options.tokenizer', fix: 'pass a tokenizer when opening it' })
    return tokenizer
  }

  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#session?.dispose()
    const { weights } = this.#parts
    if (weights.kind === 'float') return
    for (const matrix of Object.values(weights.loaded.matrices)) matrix.dispose()
    if (weights.isOwn) weights.kernels.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

function compile(weights: RunnableWeights, program: ReturnType<typeof decoderProgram>, vectors: Readonly<Record<string, Float32Array>>): CompiledProgram {
  if (weights.kind === 'float') return compileFloat(program, { matrices: weights.loaded.matrices, vectors })
  const { programs } = weights.kernels
  if (programs === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: weights.kernels.name, found: 'kernels that run no programs', expected: 'kernels with supports.programs', fix: "pass kernels: 'float'" })
  return programs.compile(program, { matrices: weights.loaded.matrices, vectors })
}
