import { LowbitError, QUANTIZE_OPTIONS, resolveOptions, type CacheType, type DeclarationsOf, type SyncKernelProvider } from '@lowbit/core'
import { createWasmKernels, WASM_KERNEL_OPTIONS } from '@lowbit/kernels-wasm'
import type { LoraAdapter } from '../adapter/lora-adapter.js'
import { withAdapterMatrices } from '../load/adapter-matrices.js'
import { kernelKeeper, loadWeights, plainKeeper, type Keeper, type LoadedWeights, type LoadOptions } from '../load/load-weights.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { CausalLm, type RunnableWeights } from './causal-lm.js'
import { openModelFile, withBase, type ModelFile, type ModelInput } from './model-file.js'

export interface OpenCausalLmOptions extends LoadOptions {
  /** What runs it. Default: WebAssembly kernels, made for this model and disposed of with it. `float`: plain TypeScript in float32. */
  readonly kernels?: SyncKernelProvider | 'float'
  /** Threads of the default kernels. */
  readonly threads?: number
  /** Positions that a generation has, at most those the model was trained for. Default: 2048 of them. */
  readonly context?: number
  /** How keys and values are kept. Default `float16`, as llama.cpp. */
  readonly cache?: CacheType
  /** Inputs of quantized matrices: `int8` (default), with a scale for each group of the weights, or `float32`, which is slower. */
  readonly activations?: 'int8' | 'float32'
  /** In place of the file's own; `none`: the file's is not read, and the model takes tokens only. */
  readonly tokenizer?: Tokenizer | 'none'
  /** Goes beside the weights; a folder that holds an adapter names its base itself. */
  readonly adapter?: LoraAdapter
}

const CONTEXT = 2048

/** What {@link openCausalLm} takes. */
export const OPEN_CAUSAL_LM_OPTIONS = {
  kernels: { type: 'either', of: [{ type: 'choice', values: ['float'] }, { type: 'object', has: ['matmul', 'supports'] }], otherwise: 'WebAssembly kernels of its own', about: 'what runs the model' },
  threads: WASM_KERNEL_OPTIONS.threads,
  context: { type: 'integer', minimum: 1, otherwise: `${CONTEXT}, or what the model was trained for`, about: 'positions that a generation has' },
  cache: { type: 'choice', values: ['float32', 'float16', 'int8'], default: 'float16', about: 'how keys and values are kept' },
  activations: { type: 'choice', values: ['int8', 'float32'], default: 'int8', about: 'inputs of quantized matrices' },
  tokenizer: { type: 'either', of: [{ type: 'choice', values: ['none'] }, { type: 'object', has: ['encode', 'decode'] }], otherwise: 'that of the file', about: 'what makes tokens of text' },
  adapter: { type: 'object', has: ['rank', 'alpha', 'sites'], about: 'goes beside the weights' },
  weights: { type: 'scheme', otherwise: 'as in the file', about: 'codes that float matrices become' },
  embedding: { type: 'either', of: [{ type: 'choice', values: ['float'] }, { type: 'scheme' }], otherwise: 'int8 in groups of 32 with weights, else as in the file', about: 'the same for the embedding and the head' },
  onProgress: QUANTIZE_OPTIONS.onProgress,
  signal: QUANTIZE_OPTIONS.signal,
} as const satisfies DeclarationsOf<OpenCausalLmOptions>

/**
 * Opens a decoder language model and reads its weights into the kernels' layout, one matrix at a time.
 * @param input a path (Node), the bytes or Blob of a GGUF or llama2.c file, or the files of a Hugging Face folder
 * @throws LOWBIT_ARGUMENT naming the option; LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_NOT_FOUND, LOWBIT_NONFINITE for files that hold no whole model,
 * LOWBIT_UNSUPPORTED for one that is not read (named), LOWBIT_LIMIT if memory does not suffice, LOWBIT_ABORTED
 */
export async function openCausalLm(input: ModelInput, options: OpenCausalLmOptions = {}): Promise<CausalLm> {
  const given = resolveOptions<OpenCausalLmOptions, typeof OPEN_CAUSAL_LM_OPTIONS>(OPEN_CAUSAL_LM_OPTIONS, options, 'openCausalLm')
  const opened = await openModelFile(input)
  const file = options.adapter === undefined ? opened : await withBase(opened, options.adapter, 'adapter')
  try {
    const { config } = file.weights
    const { context = Math.min(config.context, CONTEXT), cache, activations } = given
    if (context > config.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'context', found: String(context), expected: `1 to ${config.context}, which the model was trained for` })
    const tokenizer = options.tokenizer === 'none' ? undefined : (options.tokenizer ?? file.tokenizer())
    if (tokenizer !== undefined) expectFits(tokenizer, file)
    const weights = await load(file, options)
    return new CausalLm({ name: file.name, format: file.weights.format, config, tokenizer, ends: file.ends, weights, ...(file.adapter === undefined ? {} : { adapter: file.adapter }), defaults: { context, cache, activations } })
  } finally {
    await file.weights.close()
  }
}

async function load(file: ModelFile, options: OpenCausalLmOptions): Promise<RunnableWeights> {
  if (options.kernels === 'float') return { kind: 'float', loaded: await loadAll(file, plainKeeper, options) }
  const kernels = options.kernels ?? (await createWasmKernels(options.threads === undefined ? {} : { threads: options.threads }))
  const isOwn = options.kernels === undefined
  if (kernels.programs === undefined) {
    if (isOwn) kernels.dispose()
    return { kind: 'float', loaded: await loadAll(file, plainKeeper, options) }
  }
  try {
    return { kind: 'kernels', kernels, isOwn, loaded: await loadAll(file, kernelKeeper(kernels), options) }
  } catch (error) {
    if (isOwn) kernels.dispose()
    throw error
  }
}

async function loadAll<M>(file: ModelFile, keeper: Keeper<M>, options: LoadOptions): Promise<LoadedWeights<M>> {
  const loaded = await loadWeights(file.weights, keeper, options)
  return file.adapter === undefined ? loaded : withAdapterMatrices(loaded, keeper, file.adapter)
}

/** Embeddings may have more rows than there are tokens (padding), never fewer. */
function expectFits(tokenizer: Tokenizer, file: ModelFile): void {
  const { vocabulary } = file.weights.config
  if (tokenizer.size <= vocabulary) return
  throw new LowbitError('LOWBIT_FORMAT', { thing: file.name, found: `a tokenizer of ${tokenizer.size} tokens (${tokenizer.name}) for ${vocabulary} embeddings`, expected: 'at most one token an embedding', fix: 'the tokenizer belongs to another model' })
}
