import type { Layer, Tensor } from '../tf.js'

type Keywords = Parameters<Layer['call']>[1]

/** What a layer computes with in place of its own members, for one call. */
export type Replaced = Readonly<Record<string, Tensor>>

/** A layer's forward pass: `next` runs the layer itself. */
export type Around = (input: Tensor, keywords: Keywords, next: (input: Tensor, replaced?: Replaced) => Tensor) => Tensor

/**
 * Puts `around` about a layer's `call`. Everything of tfjs-layers runs through `call` (fit, predict, evaluate, apply, nested
 * models), and nothing of saving or training does, so that the model stays what it was to them.
 * @returns takes it away again.
 */
export function wrapCall(layer: Layer, around: Around): () => void {
  const own = Object.getOwnPropertyDescriptor(layer, 'call')
  const call = layer.call
  layer.call = (inputs, keywords) => {
    if (Array.isArray(inputs) && inputs.length !== 1) return call.call(layer, inputs, keywords)
    const input = Array.isArray(inputs) ? inputs[0] : inputs
    return around(input, keywords ?? {}, (x, replaced = {}) => {
      const out = withMembers(layer, replaced, () => call.call(layer, x, keywords ?? {}))
      return Array.isArray(out) ? out[0] : out
    })
  }
  return () => {
    if (own === undefined) Reflect.deleteProperty(layer, 'call')
    else Object.defineProperty(layer, 'call', own)
  }
}

/** Runs `f` while members of the layer read as other tensors. A bias may be given to a layer that has none. */
function withMembers<R>(layer: Layer, replaced: Replaced, f: () => R): R {
  const before = new Map<string, PropertyDescriptor | undefined>()
  const set = (name: string, value: unknown): void => {
    before.set(name, Object.getOwnPropertyDescriptor(layer, name))
    Object.defineProperty(layer, name, { value, configurable: true, enumerable: true, writable: true })
  }
  try {
    for (const [name, tensor] of Object.entries(replaced)) {
      set(name, { read: () => tensor })
      if (name === 'bias') set('useBias', true)
    }
    return f()
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(layer, name)
      else Object.defineProperty(layer, name, descriptor)
    }
  }
}
