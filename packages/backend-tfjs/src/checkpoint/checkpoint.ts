import { LowbitError, recipeDifference, type Json } from '@lowbit/core'
import type { io, Optimizer } from '@tensorflow/tfjs-core'
import { isLayerVariable, type LayerVariable } from '../layers/layer-variable.js'
import type { Prepared } from '../prepare/prepare.js'
import type { LayersModel, Tensor, TfCore } from '../tf.js'
import { readSection, type CheckpointSection } from './section.js'

/** Scalars of tfjs optimizers that `setWeights` recomputes instead of restoring. */
const EXACT = ['accBeta1', 'accBeta2']

export interface SaveCheckpointOptions {
  /** Comes back from `loadCheckpoint`: epoch, position in the data, random state. */
  readonly extra?: Json
}

/**
 * Saves a prepared model in the middle of its training: weights, learned scales, ranges seen, optimizer state, step and recipe.
 * The file is tfjs's own format; what is ours stands under `lowbit` in its metadata.
 * @param handler where to: `checkpointFolder(path)`, or any handler of `tf.io`.
 */
export async function saveCheckpoint(tf: TfCore, prepared: Prepared, handler: io.IOHandler, options: SaveCheckpointOptions = {}): Promise<void> {
  prepared.settle()
  const taken: io.ModelArtifacts[] = []
  await prepared.model.save(
    tf.io.withSaveHandler(async (artifacts) => {
      taken.push(artifacts)
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
    }),
  )
  const [artifacts] = taken
  const specs = [...(artifacts.weightSpecs ?? [])]
  const buffers = [whole(tf, artifacts.weightData)]
  const optimizer = optimizerOf(prepared.model)
  if (optimizer !== undefined) {
    const state = await optimizer.getWeights()
    const encoded = await tf.io.encodeWeights(state.map(({ name, tensor }, i) => ({ name: `optimizer/${i}/${name}`, tensor })), 'optimizer')
    specs.push(...encoded.specs)
    buffers.push(encoded.data)
    // The first is the iteration count, made for this call; the others are the optimizer's own variables.
    state[0]?.tensor.dispose()
  }
  const section: CheckpointSection = { version: 1, recipe: prepared.recipe, step: prepared.step, extra: options.extra ?? null, ...(optimizer === undefined ? {} : { optimizer: optimizerSection(prepared.model, optimizer) }) }
  if (handler.save === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'checkpoint handler', found: 'one that can not save', expected: 'checkpointFolder(path) or a handler of tf.io' })
  await handler.save({ ...artifacts, weightSpecs: specs, weightData: tf.io.concatenateArrayBuffers(buffers), userDefinedMetadata: { ...artifacts.userDefinedMetadata, lowbit: section } })
}

/**
 * Goes on where a training was saved: into a model of the same shape, prepared by the same recipe, and compiled with the same kind of
 * optimizer (leave it uncompiled for weights alone). The next steps give the losses they would have given without the interruption.
 * @returns what `saveCheckpoint` was given as `extra`
 * @throws LOWBIT_CHECKPOINT if recipe, version, weights or optimizer are others.
 */
export async function loadCheckpoint(tf: TfCore, prepared: Prepared, handler: io.IOHandler): Promise<Json> {
  if (handler.load === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'checkpoint handler', found: 'one that can not load', expected: 'checkpointFolder(path) or a handler of tf.io' })
  const artifacts = await handler.load()
  const section = readSection(artifacts.userDefinedMetadata)
  const other = recipeDifference(section.recipe, prepared.recipe)
  if (other !== undefined) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: `another recipe: ${other}`, expected: 'the recipe it was saved with', fix: 'prepare the model with that recipe' })
  const tensors = tf.io.decodeWeights(whole(tf, artifacts.weightData), artifacts.weightSpecs ?? [])
  try {
    const variables = weightsOf(prepared.model)
    for (const variable of variables) {
      const saved = tensors[variable.originalName]
      if (saved === undefined || saved.shape.join() !== variable.shape.join()) {
        throw new LowbitError('LOWBIT_CHECKPOINT', { thing: `weight '${variable.originalName}'`, found: saved === undefined ? 'not in the checkpoint' : `[${saved.shape.join(', ')}] in the checkpoint`, expected: `[${variable.shape.join(', ')}]` })
      }
    }
    for (const variable of variables) variable.write(tensors[variable.originalName])
    prepared.step = section.step
    const optimizer = optimizerOf(prepared.model)
    if (optimizer !== undefined) await restoreOptimizer(tf, prepared.model, optimizer, section, tensors)
    return section.extra
  } finally {
    for (const t of Object.values(tensors)) if (!t.isDisposed) t.dispose()
  }
}

async function restoreOptimizer(tf: TfCore, model: LayersModel, optimizer: Optimizer, section: CheckpointSection, tensors: Record<string, Tensor>): Promise<void> {
  const saved = section.optimizer
  if (saved === undefined || saved.className !== optimizer.getClassName()) {
    throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'optimizer', found: saved === undefined ? 'none in the checkpoint' : `${saved.className} in the checkpoint`, expected: optimizer.getClassName(), fix: 'compile the model with the optimizer of the checkpoint' })
  }
  orderTrained(model, saved.variables)
  const state = Object.entries(tensors)
    .filter(([name]) => name.startsWith('optimizer/'))
    .map(([name, tensor]) => ({ index: Number(name.split('/')[1]), name: name.split('/').slice(2).join('/'), tensor }))
    .sort((a, b) => a.index - b.index)
  if (state.length > 0) await optimizer.setWeights(state.map(({ name, tensor }) => ({ name, tensor })))
  for (const [name, value] of Object.entries(saved.exact)) {
    const scalar: unknown = Reflect.get(optimizer, name)
    if (isVariable(scalar)) tf.tidy(() => scalar.assign(tf.scalar(value)))
  }
}

function optimizerSection(model: LayersModel, optimizer: Optimizer): NonNullable<CheckpointSection['optimizer']> {
  const exact: Record<string, number> = {}
  for (const name of EXACT) {
    const scalar: unknown = Reflect.get(optimizer, name)
    if (isVariable(scalar)) exact[name] = scalar.dataSync()[0]
  }
  return { className: optimizer.getClassName(), variables: trained(model).flatMap(({ list }) => list.map((v) => v.originalName)).filter((v, i, all) => all.indexOf(v) === i), exact }
}

/** The lists of trained variables that tfjs made on compiling: of the model, and of the one inside a Sequential. */
function trained(model: LayersModel): { readonly holder: object; readonly list: LayerVariable[] }[] {
  return [model, Reflect.get(model, 'model')].flatMap((holder: unknown) => {
    if (typeof holder !== 'object' || holder === null) return []
    const list: unknown = Reflect.get(holder, 'collectedTrainableWeights')
    return Array.isArray(list) && list.every(isLayerVariable) ? [{ holder, list }] : []
  })
}

/** Moments are kept by position: the variables take the positions they had. */
function orderTrained(model: LayersModel, names: readonly string[]): void {
  for (const { holder, list } of trained(model)) {
    const ordered = names.flatMap((name) => list.filter((v) => v.originalName === name))
    if (ordered.length !== list.length) {
      throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'trained variables', found: `${list.length} here, ${names.length} in the checkpoint`, expected: 'the same', fix: 'freeze and unfreeze the same layers before resuming' })
    }
    Reflect.set(holder, 'collectedTrainableWeights', ordered)
  }
}

function weightsOf(model: LayersModel): LayerVariable[] {
  const weights: unknown = model.weights
  return Array.isArray(weights) ? weights.filter(isLayerVariable) : []
}

function optimizerOf(model: LayersModel): Optimizer | undefined {
  const found: unknown = Reflect.get(model, 'optimizer_') ?? Reflect.get(Object(Reflect.get(model, 'model')), 'optimizer_')
  return isOptimizer(found) ? found : undefined
}

function isOptimizer(value: unknown): value is Optimizer {
  return typeof value === 'object' && value !== null && 'applyGradients' in value && 'getWeights' in value
}

function isVariable(value: unknown): value is { assign(t: Tensor): void; dataSync(): Float32Array } {
  return typeof value === 'object' && value !== null && 'assign' in value && 'dataSync' in value
}

function whole(tf: TfCore, data: io.WeightData | undefined): ArrayBuffer {
  if (data === undefined) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: 'no weights' })
  return Array.isArray(data) ? tf.io.concatenateArrayBuffers(data) : data
}
