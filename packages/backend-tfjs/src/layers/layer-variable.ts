import type { Tensor } from '../tf.js'

/** A variable of a layer, as tfjs-layers keeps it. */
export interface LayerVariable {
  readonly originalName: string
  readonly shape: number[]
  readonly trainable: boolean
  read(): Tensor
  write(value: Tensor): unknown
}

/** The layer's member of that name if it is a variable. tfjs-layers declares kernels and biases protected. */
export function layerVariable(layer: object, name: string): LayerVariable | undefined {
  const found: unknown = Reflect.get(layer, name)
  return isLayerVariable(found) ? found : undefined
}

export function isLayerVariable(value: unknown): value is LayerVariable {
  return typeof value === 'object' && value !== null && 'read' in value && typeof value.read === 'function' && 'write' in value && typeof value.write === 'function' && 'originalName' in value
}

/** A number, string or boolean member, or a list of numbers. */
export function setting(layer: object, name: string): unknown {
  return Reflect.get(layer, name)
}

/** A list of whole numbers such as strides; one number is repeated. */
export function numbers(layer: object, name: string, count: number, fallback: number): number[] {
  const found: unknown = Reflect.get(layer, name)
  if (Array.isArray(found)) return Array.from({ length: count }, (_, i) => Number(found[i] ?? found[0] ?? fallback))
  return Array.from({ length: count }, () => (typeof found === 'number' ? found : fallback))
}
