import { writeGguf, type GgufTensorSource, type GgufValue } from '@lowbit/formats/gguf'
import { LowbitError } from '@lowbit/core'
import { LAYER_ROLES, type LayerRole } from '../architecture/index.js'
import type { ModelConfig } from '../config/model-config.js'
import { architectureOf } from '../forward/parts.js'
import { halvesToNeighbours } from '../weights/matrix.js'
import type { LoraAdapter } from './lora-adapter.js'

/**
 * An adapter as llama.cpp takes it beside a base (`--lora`): `blk.0.attn_q.weight.lora_a` and `lora_b`, float32. Rows of `lora_b` for
 * q and k lie as the base's do.
 * @throws LOWBIT_UNSUPPORTED for an architecture that llama.cpp has not
 */
export async function writeGgufAdapter({ sites, rank, alpha }: LoraAdapter, config: ModelConfig): Promise<Uint8Array<ArrayBuffer>> {
  const architecture = architectureOf(config)
  if (architecture.gguf === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'adapter', found: `architecture ${config.architecture}`, expected: 'one that llama.cpp has' })
  const text = (value: string): GgufValue => ({ type: 'string', value })
  const metadata = new Map<string, GgufValue>([['general.architecture', text(architecture.gguf)], ['general.type', text('adapter')], ['adapter.type', text('lora')], ['adapter.lora.alpha', { type: 'float32', value: alpha }]])
  const source = halvesToNeighbours(config.headSize)
  const tensors: GgufTensorSource[] = []
  for (const [name, { down, up }] of sites) {
    const [, layer, role] = name.split('.')
    const tensor = `blk.${layer}.${LAYER_ROLES[role as LayerRole].gguf}`
    const rows = up.length / rank
    const isTurned = architecture.ggufRotatesNeighbours && (role === 'q' || role === 'k')
    const turned = isTurned ? Float32Array.from({ length: up.length }, (_, i) => up[source(Math.floor(i / rank)) * rank + (i % rank)]) : up
    tensors.push({ name: `${tensor}.lora_a`, type: 'F32', shape: [rank, down.length / rank], data: () => Promise.resolve(bytes(down)) }, { name: `${tensor}.lora_b`, type: 'F32', shape: [rows, rank], data: () => Promise.resolve(bytes(turned)) })
  }
  const pieces: Uint8Array[] = []
  for await (const piece of writeGguf({ metadata, tensors })) pieces.push(piece)
  const out = new Uint8Array(pieces.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

const bytes = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
