import { LowbitError, roundedWeight, type FloatPart, type Json, type QTensor } from '@lowbit/core'
import type { ModelConfig } from '../../config/model-config.js'
import { partsOf, type Part } from '../../forward/parts.js'
import type { TrainableLm } from '../model/trainable-lm.js'

/** A trained model as it is stored: codes where there was rounding, floats elsewhere. */
export interface TrainedModel {
  readonly name: string
  readonly config: ModelConfig
  /** Codes and scales that the forward pass computed with, by the name of the matrix. */
  readonly codes: ReadonlyMap<string, QTensor>
  readonly floats: ReadonlyMap<string, Float32Array>
  readonly vectors: ReadonlyMap<string, Float32Array>
  /** How inputs of products were rounded. */
  readonly activations: 'int8' | 'float32'
  /** What stays in float, and why. */
  readonly float: readonly FloatPart[]
  readonly recipe: Json
}

/**
 * The model that a trained one stands for: codes come from the operations that trained it, on the same backend.
 * @throws LOWBIT_NONFINITE if the training diverged, LOWBIT_UNSUPPORTED for a model with adapters, or an estimator without a scheme
 */
export async function convertTrained<T>(model: TrainableLm<T>): Promise<TrainedModel> {
  const { name, config, planned, parameters, adapter, float, recipe } = model.parts
  if (adapter !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: 'adapters beside a frozen base', expected: 'trained weights', fix: 'save the adapter beside its base, or merge it' })
  await parameters.settle()
  const codes = new Map<string, QTensor>()
  const floats = new Map<string, Float32Array>()
  const vectors = new Map<string, Float32Array>()
  for (const part of partsOf(config)) {
    if (part.kind === 'vector') vectors.set(part.name, parameters.get(part.name).values.slice())
    else if (planned.get(part.name)?.weight === undefined || model.isFloat) floats.set(part.name, parameters.get(part.name).values.slice())
    else codes.set(part.name, await codesOf(model, part))
  }
  const rounds = !model.isFloat && [...planned.values()].some(({ activation }) => activation !== undefined)
  return { name, config, codes, floats, vectors, activations: rounds ? 'int8' : 'float32', float, recipe }
}

async function codesOf<T>(model: TrainableLm<T>, part: Part): Promise<QTensor> {
  const { backend, parameters, planned } = model.parts
  const weight = planned.get(part.name)?.weight
  if (weight === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: part.name, found: 'no fake quantization' })
  const { fakeQuant } = weight
  const x = parameters.tensor(part.name)
  const state = model.state(part.name, 'weight')
  // What is made on the way is freed before anything is read.
  const [codes, scales, zeroPoints] = backend.scope(() => {
    const r = fakeQuant.quantize(backend.ops, x, state)
    return [r.codes, r.scales, ...(r.zeroPoints === undefined ? [] : [r.zeroPoints])]
  })
  try {
    return await roundedWeight((t) => backend.read(t), fakeQuant.scheme, part.shape, { codes, scales, ...(zeroPoints === undefined ? {} : { zeroPoints }) }, 'NK', part.name)
  } finally {
    for (const t of [codes, scales, zeroPoints]) if (t !== undefined) backend.release(t)
  }
}
