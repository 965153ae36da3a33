import { LowbitError, type HostTensor } from '@lowbit/core'
import type { TensorSource } from '../bytes/tensor-source.js'
import { readAwq } from './awq.js'
import { readBitnet } from './bitnet.js'
import { readBitsandbytes } from './bitsandbytes.js'
import type { CheckpointFormat } from './checkpoint-format.js'
import { readCompressed } from './compressed-tensors.js'
import { readGptq } from './gptq.js'
import type { GroupedWeight } from './grouped-weight.js'
import { readMlx } from './mlx.js'

/** The tensor that shows that a weight is packed, and a type it must have where float weights have the same name. */
const MARKS: Readonly<Record<CheckpointFormat['method'], { readonly name: string; readonly type?: string }>> = {
  gptq: { name: 'qweight' },
  awq: { name: 'qweight' },
  'compressed-tensors': { name: 'weight_packed' },
  bitsandbytes: { name: 'weight.absmax' },
  bitnet: { name: 'weight', type: 'U8' },
  mlx: { name: 'weight', type: 'U32' },
}

/** True if the weight of a layer is packed in this checkpoint; others stay float. */
export function isPackedWeight(source: Pick<TensorSource, 'tensors'>, layer: string, format: CheckpointFormat): boolean {
  const { name, type } = MARKS[format.method]
  const found = source.tensors.get(`${layer}.${name}`)
  return found !== undefined && (type === undefined || found.type === type)
}

/**
 * The packed weight of a layer (`model.layers.0.self_attn.q_proj`), read from a checkpoint.
 * @throws LOWBIT_NOT_FOUND for a tensor that is missing (also g_idx of an act-order checkpoint), and what the readers throw.
 */
export async function readPackedWeight(source: TensorSource, layer: string, format: CheckpointFormat): Promise<GroupedWeight> {
  const thing = `${source.name}: ${layer}`
  if (!isPackedWeight(source, layer, format)) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `no ${MARKS[format.method].name} of ${format.method}`, expected: 'a packed weight' })
  const parts: Record<string, HostTensor> = {}
  for (const name of source.tensors.keys()) if (name.startsWith(`${layer}.`) && !name.endsWith('.bias')) parts[name.slice(layer.length + 1)] = await source.host(name)
  switch (format.method) {
    case 'gptq':
      if (format.actOrder && parts['g_idx'] === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: 'no g_idx, though config.json says desc_act', expected: 'the group of each input' })
      return readGptq(parts, format, thing)
    case 'awq': return readAwq(parts, format.groupSize, thing)
    case 'compressed-tensors': return readCompressed(parts, format.overrides?.get(layer) ?? format, thing)
    case 'bitsandbytes': return readBitsandbytes(parts, thing)
    case 'bitnet': return readBitnet(parts, format.linear, thing)
    case 'mlx': return readMlx(parts, format.overrides.get(layer) ?? format, thing)
  }
}
