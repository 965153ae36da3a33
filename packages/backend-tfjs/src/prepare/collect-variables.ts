import type { LayersModel } from '../tf.js'

/**
 * A compiled model trains the variables it listed when it was compiled. New ones go to the end of that list, so that the moments
 * of an optimizer that already ran, which it keeps by position, stay with their variables.
 */
export function collectVariables(model: LayersModel): void {
  for (const target of [model, Reflect.get(model, 'model')]) {
    if (typeof target !== 'object' || target === null) continue
    const collected: unknown = Reflect.get(target, 'collectedTrainableWeights')
    const current: unknown = Reflect.get(target, 'trainableWeights')
    if (!Array.isArray(collected) || !Array.isArray(current)) continue
    const kept = collected.filter((v) => current.includes(v))
    Reflect.set(target, 'collectedTrainableWeights', [...kept, ...current.filter((v) => !kept.includes(v))])
  }
}
