import { LowbitError, type FakeQuantState, type FakeQuantVariable } from '@lowbit/core'
import { isLayerVariable, type LayerVariable } from '../layers/layer-variable.js'
import type { Layer, Tensor, TfCore } from '../tf.js'

/** Variables of one fake quantization, kept by a layer of the model: optimizers train them and saving writes them. */
export interface LayerHeld {
  state(step: number, training: boolean): FakeQuantState<Tensor>
  read(name: string): Float32Array
  write(name: string, value: Float32Array): void
  readonly names: readonly string[]
  /** Takes the variables off the layer and frees them. */
  remove(): void
}

/** Adds the variables to `owner`; their names begin with `prefix`, so that they are unique in the model's weights. */
export function holdInLayer(tf: TfCore, owner: Layer, prefix: string, definitions: readonly FakeQuantVariable[]): LayerHeld {
  const held = new Map<string, LayerVariable>()
  for (const { name, shape, initial, trainable } of definitions) {
    held.set(name, addWeight(owner, `${prefix}/${name}`, shape, trainable, () => tf.tensor(initial, [...shape], 'float32')))
  }
  const get = (name: string): LayerVariable => {
    const found = held.get(name)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `${prefix}/${name}`, found: 'no such variable', expected: [...held.keys()].join(', ') || 'none' })
    return found
  }
  return {
    names: [...held.keys()],
    state: (step, training) => ({ read: (name) => get(name).read(), write: (name, value) => void get(name).write(value), step, training }),
    read: (name) => Float32Array.from(get(name).read().dataSync<'float32'>()),
    write: (name, value) => {
      const variable = get(name)
      tf.tidy(() => void variable.write(tf.tensor(value, variable.shape, 'float32')))
    },
    remove: () => {
      for (const variable of held.values()) {
        for (const list of ['_trainableWeights', '_nonTrainableWeights']) drop(Reflect.get(owner, list), variable)
        drop(Reflect.get(owner, '_addedWeightNames'), variable.originalName)
        variable.read().dispose()
      }
    },
  }
}

function drop(list: unknown, item: unknown): void {
  if (Array.isArray(list) && list.includes(item)) list.splice(list.indexOf(item), 1)
}

/** `Layer.addWeight` is how every layer of tfjs-layers makes its variables; it is declared protected. */
function addWeight(owner: Layer, name: string, shape: readonly number[], trainable: boolean, initial: () => Tensor): LayerVariable {
  const method: unknown = Reflect.get(owner, 'addWeight')
  const made: unknown = typeof method === 'function' ? Reflect.apply(method, owner, [name, [...shape], 'float32', { apply: initial }, null, trainable]) : undefined
  if (!isLayerVariable(made)) throw new LowbitError('LOWBIT_VERSION', { thing: `layer '${owner.name}'`, found: 'no way to add a variable', expected: 'a layer of tfjs-layers 4' })
  return made
}
