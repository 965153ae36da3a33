import { ARCHITECTURES, layerName, type Architecture, type LayerRole, type ModelRole, type Role } from '../architecture/index.js'
import type { ModelConfig } from '../config/model-config.js'
import { LowbitError } from '@lowbit/core'

/** A tensor that a decoder is made of. */
export interface Part {
  /** As programs and reports name it: `embed`, `layers.3.q`. */
  readonly name: string
  readonly role: Role
  readonly layer?: number
  /** Matrices `[N, K]` may be quantized; vectors are float32. */
  readonly kind: 'matrix' | 'vector'
  readonly shape: readonly number[]
}

/** The description that a configuration belongs to. */
export function architectureOf(config: Pick<ModelConfig, 'architecture'>): Architecture {
  const found = ARCHITECTURES.find(({ name }) => name === config.architecture)
  if (found === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'model', found: `architecture '${config.architecture}'`, expected: ARCHITECTURES.map(({ name }) => name).join(', ') })
  return found
}

/** Everything that a decoder of this configuration needs, in the order in which it is used. */
export function partsOf(config: ModelConfig): readonly Part[] {
  const { norms } = architectureOf(config)
  const { width, heads, kvHeads, headSize, hidden, vocabulary, biases, tied } = config
  const parts: Part[] = []
  const model = (role: ModelRole, kind: Part['kind'], ...shape: number[]): void => void parts.push({ name: role, role, kind, shape })
  model('embed', 'matrix', vocabulary, width)
  for (let layer = 0; layer < config.layers; layer++) {
    const add = (role: LayerRole, kind: Part['kind'], ...shape: number[]): void => void parts.push({ name: layerName(layer, role), role, layer, kind, shape })
    const matrix = (role: LayerRole & `${LinearRole}`, rows: number, columns: number, bias: boolean): void => {
      add(role, 'matrix', rows, columns)
      if (bias) add(`${role}.bias`, 'vector', rows)
    }
    add('attention.norm', 'vector', width)
    matrix('q', heads * headSize, width, biases.qkv)
    matrix('k', kvHeads * headSize, width, biases.qkv)
    matrix('v', kvHeads * headSize, width, biases.qkv)
    if (norms.heads) {
      add('q.norm', 'vector', headSize)
      add('k.norm', 'vector', headSize)
    }
    if (norms.sub) add('attention.sub-norm', 'vector', heads * headSize)
    matrix('o', width, heads * headSize, biases.output)
    if (norms.post) add('attention.post-norm', 'vector', width)
    add('mlp.norm', 'vector', width)
    matrix('gate', hidden, width, biases.mlp)
    matrix('up', hidden, width, biases.mlp)
    if (norms.sub) add('mlp.sub-norm', 'vector', hidden)
    matrix('down', width, hidden, biases.mlp)
    if (norms.post) add('mlp.post-norm', 'vector', width)
  }
  model('norm', 'vector', width)
  if (!tied) model('head', 'matrix', vocabulary, width)
  return parts
}

type LinearRole = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down'

/** The matrix that makes logits. */
export const headName = (config: Pick<ModelConfig, 'tied'>): 'embed' | 'head' => (config.tied ? 'embed' : 'head')
