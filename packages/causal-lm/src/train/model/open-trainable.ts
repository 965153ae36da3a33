import { LowbitError, mergeAdapter, planTraining, throwIfAborted, trainingRecipeJson, type AdapterAlgorithm, type HostTensor, type Json, type OnProgress, type PlannedLayer, type Scheme, type TrainingBackend, type TrainingLayer, type TrainingRecipe } from '@lowbit/core'
import type { ModelConfig } from '../../config/model-config.js'
import { partsOf, type Part } from '../../forward/parts.js'
import { openModelFile, type ModelInput } from '../../open/model-file.js'
import type { Tokenizer } from '../../tokenizer/index.js'
import { describeMatrix, isQuantized, matrixFloats, type ModelMatrix } from '../../weights/matrix.js'
import type { WeightSource } from '../../weights/weight-source.js'
import { frozenBase } from '../../adapter/frozen-base.js'
import type { AdapterFactors } from '../../adapter/lora-adapter.js'
import { Parameters } from './parameters.js'
import { TrainableLm, variableName } from './trainable-lm.js'

/** Matrices of a layer that adapters go beside. */
export type AdapterTarget = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down'

export const ADAPTER_TARGETS: readonly AdapterTarget[] = ['q', 'k', 'v', 'o', 'gate', 'up', 'down']

export interface AdapterOptions {
  /** `lora()` of `@lowbit/algos-lora`. */
  readonly algorithm: AdapterAlgorithm
  /** Default: all seven. */
  readonly targets?: readonly AdapterTarget[]
  /** What float matrices of the layers become while they are read. Absent: they stay as they are in the file. */
  readonly base?: Scheme
  /** NF4 bases: scales are codes too (QLoRA). Default true. */
  readonly doubleQuantized?: boolean
}

export interface TrainableOptions<T> {
  readonly backend: TrainingBackend<T>
  /**
   * What is trained in low precision. `embed` and `head` stay in float unless an override names them.
   * Absent: the float model.
   */
  readonly recipe?: TrainingRecipe
  /** Adapters are trained in place of the weights. */
  readonly adapter?: AdapterOptions
  /** Only the first so many layers are kept. Default: all. */
  readonly layers?: number
  /** Layers whose inner values are computed again in the backward pass, so many at a time: less memory, a third more time. */
  readonly recompute?: number
  /** Rows of logits in memory at a time. Default: all. */
  readonly logitRows?: number
  /** For the first values of adapters. Default 1. */
  readonly seed?: number
  readonly tokenizer?: Tokenizer
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

/** A model that can be trained, and the file that it came from. */
export interface OpenedTrainable<T> extends Disposable {
  readonly model: TrainableLm<T>
  readonly tokenizer: Tokenizer | undefined
  readonly name: string
}

/**
 * Opens a decoder for training: weights of the file become parameters, or a frozen base that adapters go beside.
 * @throws what `openCausalLm` throws; LOWBIT_UNSUPPORTED for weights that are codes and no adapter, LOWBIT_ARGUMENT for a rank larger
 * than a matrix, LOWBIT_NOT_FOUND for an override that matches nothing
 */
export async function openTrainable<T>(input: ModelInput, options: TrainableOptions<T>): Promise<OpenedTrainable<T>> {
  const file = await openModelFile(input)
  try {
    const model = await trainableFrom(file.weights, options)
    return { model, name: file.name, tokenizer: options.tokenizer ?? file.tokenizer(), [Symbol.dispose]: () => { model.dispose() } }
  } finally {
    await file.weights.close()
  }
}

/** {@link openTrainable} of weights that are open already. */
export async function trainableFrom<T>(source: WeightSource, options: TrainableOptions<T>): Promise<TrainableLm<T>> {
  const { backend, adapter, signal } = options
  const config = firstLayers(source.config, options.layers, source.name)
  if (adapter !== undefined && options.recipe !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: source.name, found: 'a training recipe and an adapter', expected: 'one of them', fix: 'adapters go beside a frozen base: give its scheme as base' })
  for (const [name, value] of [['recompute', options.recompute], ['logitRows', options.logitRows]] as const) {
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: String(value), expected: 'a whole number of at least 1' })
  }
  const parts = partsOf(config)
  const recipe = options.recipe === undefined ? {} : withFloatEnds(options.recipe, config)
  const plan = planTraining(parts.filter(({ kind }) => kind === 'matrix').map((part) => layerOf(part, config)), recipe)
  if (config.roundedInputs && !plan.layers.some(({ activation }) => activation !== undefined)) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: source.name, found: 'a model whose inputs are rounded, and a recipe without activations', expected: 'int8 activations', fix: 'train it with bitnetRecipe() of @lowbit/algos-bitnet' })
  }
  const planned = new Map(plan.layers.map((p) => [p.layer.id, p]))
  const parameters = new Parameters<T>(backend)
  const frozen = new Map<string, ModelMatrix>()
  const trained = new Set<string>()
  const sites = new Set<string>()
  const bases = new Map<string, AdapterFactors>()
  try {
    for (const [done, part] of parts.entries()) {
      throwIfAborted(signal, source.name)
      options.onProgress?.({ phase: 'open', done, total: parts.length, item: part.name })
      if (part.kind === 'vector') {
        parameters.add({ name: part.name, kind: 'vector', shape: part.shape, values: await source.vector(part) })
        if (adapter === undefined) trained.add(part.name)
      } else if (adapter === undefined) {
        const weight = await floatWeight(source, part)
        parameters.add({ name: part.name, kind: 'matrix', shape: part.shape, values: weight.data })
        trained.add(part.name)
        addVariables(parameters, trained, planned.get(part.name), weight.data)
      } else {
        await addFrozen(source, part, { adapter, parameters, frozen, trained, sites, bases, seed: (options.seed ?? 1) + done })
      }
    }
    options.onProgress?.({ phase: 'open', done: parts.length, total: parts.length })
  } catch (error) {
    parameters.dispose()
    throw error
  }
  return new TrainableLm<T>({
    name: source.name, config, backend, parameters, frozen, planned, trained,
    float: plan.float,
    recipe: describe(options, sites),
    start: options.recipe?.start ?? 0,
    ...(adapter === undefined ? {} : { adapter: { algorithm: adapter.algorithm, sites, bases, ...(adapter.base === undefined ? {} : { scheme: adapter.base }), doubleQuantized: adapter.doubleQuantized ?? true } }),
    ...(options.recompute === undefined ? {} : { recompute: options.recompute }),
    ...(options.logitRows === undefined ? {} : { logitRows: options.logitRows }),
  })
}

function firstLayers(config: ModelConfig, layers: number | undefined, thing: string): ModelConfig {
  if (layers === undefined) return config
  if (!Number.isInteger(layers) || layers < 1 || layers > config.layers) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `${thing}: layers`, found: String(layers), expected: `1 to ${config.layers}` })
  return { ...config, layers, windows: config.windows.slice(0, layers) }
}

/** Tables of tokens and heads are left alone by recipes that do not name them, as other tools do. */
function withFloatEnds(recipe: TrainingRecipe, { tied }: ModelConfig): TrainingRecipe {
  const ends = (tied ? ['embed'] : ['embed', 'head']).map((match) => ({ match, weights: null, activations: null }))
  return { ...recipe, overrides: [...ends, ...(recipe.overrides ?? [])] }
}

function layerOf({ name, role, shape: [rows, columns] }: Part, { tied }: ModelConfig): TrainingLayer {
  const reads = role !== 'embed' || tied
  return { id: name, kind: role === 'embed' ? 'embedding' : 'linear', op: role, rows, columns, orientation: 'NK', ...(reads ? { input: [null, columns] } : {}) }
}

/** @throws LOWBIT_UNSUPPORTED for codes: what training would change is no longer there. */
async function floatWeight(source: WeightSource, part: Part): Promise<HostTensor<'float32'>> {
  const matrix = await source.matrix(part)
  if (isQuantized(matrix)) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', {
      thing: `${source.name}: ${part.name}`, found: `a weight in codes (${source.typeOf(part)}, ${describeMatrix(matrix)})`, expected: 'float weights to train',
      fix: 'train adapters over it (--lora), or start from the float model',
    })
  }
  const { data, shape } = matrixFloats(matrix)
  return { dtype: 'float32', shape, data: Float32Array.from(data) }
}

function addVariables<T>(parameters: Parameters<T>, trained: Set<string>, planned: PlannedLayer | undefined, values: Float32Array): void {
  for (const part of ['weight', 'activation'] as const) {
    for (const { name, shape, initial, trainable } of planned?.[part]?.fakeQuant.variables(part === 'weight' ? values : undefined) ?? []) {
      const own = variableName(planned?.layer.id ?? '', part, name)
      parameters.add({ name: own, kind: trainable ? 'scale' : 'state', shape, values: Float32Array.from(initial) })
      if (trainable) trained.add(own)
    }
  }
}

interface Adding<T> {
  readonly adapter: AdapterOptions
  readonly parameters: Parameters<T>
  readonly frozen: Map<string, ModelMatrix>
  readonly trained: Set<string>
  readonly sites: Set<string>
  readonly bases: Map<string, AdapterFactors>
  readonly seed: number
}

async function addFrozen<T>(source: WeightSource, part: Part, { adapter, parameters, frozen, trained, sites, bases, seed }: Adding<T>): Promise<void> {
  const { algorithm, targets = ADAPTER_TARGETS, base, doubleQuantized = true } = adapter
  const matrix = await source.matrix(part)
  const [rows, columns] = part.shape
  const isTarget = part.layer !== undefined && (targets as readonly string[]).includes(part.role)
  const quantizes = base !== undefined && part.layer !== undefined && !isQuantized(matrix)
  const keep = (weight: HostTensor<'float32'>): ModelMatrix => (quantizes ? frozenBase(weight, base, doubleQuantized) : matrix)
  if (!isTarget) {
    frozen.set(part.name, quantizes ? keep(matrixFloats(matrix)) : matrix)
    return
  }
  const weight = isQuantized(matrix) ? undefined : matrixFloats(matrix)
  const start = algorithm.start({
    site: { id: part.name, rows, columns }, seed,
    ...(weight === undefined ? {} : { weight }),
    ...(quantizes ? { quantize: (w: HostTensor<'float32'>) => matrixFloats(keep(w)) } : {}),
  })
  frozen.set(part.name, weight === undefined ? matrix : keep(start.base === undefined ? weight : mergeAdapter(weight, start.base.down, start.base.up, -algorithm.scale)))
  if (start.base !== undefined) bases.set(part.name, start.base)
  parameters.add({ name: `${part.name}/down`, kind: 'adapter', shape: [algorithm.rank, columns], values: start.down })
  parameters.add({ name: `${part.name}/up`, kind: 'adapter', shape: [rows, algorithm.rank], values: start.up })
  trained.add(`${part.name}/down`).add(`${part.name}/up`)
  sites.add(part.name)
}

/** Everything that decides what is trained: checkpoints are held against it. */
function describe<T>({ recipe, adapter, layers }: TrainableOptions<T>, sites: ReadonlySet<string>): Json {
  return {
    recipe: trainingRecipeJson(recipe ?? {}),
    layers: layers ?? null,
    adapter: adapter === undefined ? null : {
      algorithm: `${adapter.algorithm.name}@${adapter.algorithm.version}`, config: adapter.algorithm.config, sites: [...sites],
      base: adapter.base === undefined ? null : { ...adapter.base, granularity: { ...adapter.base.granularity } }, doubleQuantized: adapter.doubleQuantized ?? true,
    },
  }
}
