import type { LayersModel } from '../tf.js'
import { setting } from './layer-variable.js'

/** The functional model with named inputs and outputs: a Sequential keeps one inside, made when it is built. */
export function functional(model: LayersModel): LayersModel {
  if (model.getClassName() !== 'Sequential') return model
  if (!isModel(setting(model, 'model'))) model.countParams()
  const inner = setting(model, 'model')
  return isModel(inner) ? inner : model
}

function isModel(value: unknown): value is LayersModel {
  return typeof value === 'object' && value !== null && 'predictOnBatch' in value && 'inputNames' in value
}
