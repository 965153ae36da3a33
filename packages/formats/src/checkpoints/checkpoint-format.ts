import { LowbitError } from '@lowbit/core'
import type { BitnetLinear } from './bitnet.js'
import type { CompressedOptions } from './compressed-tensors.js'
import type { GptqFormat } from './gptq.js'

/** How the linear weights of a checkpoint are packed: from its config.json. */
export type CheckpointFormat =
  | { readonly method: 'gptq'; readonly bits: 2 | 3 | 4 | 8; readonly groupSize: number; readonly format: GptqFormat; readonly actOrder: boolean }
  | { readonly method: 'awq'; readonly groupSize: number }
  | ({ readonly method: 'compressed-tensors'; readonly overrides?: ReadonlyMap<string, CompressedOptions> } & CompressedOptions)
  | { readonly method: 'bitsandbytes' }
  | { readonly method: 'bitnet'; readonly linear: BitnetLinear }
  | { readonly method: 'mlx'; readonly bits: number; readonly groupSize: number; readonly overrides: ReadonlyMap<string, { readonly bits: number; readonly groupSize: number }> }

type Json = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

const THING = 'config.json: quantization_config'

const unsupported = (found: string, expected: string, fix?: string): LowbitError => new LowbitError('LOWBIT_UNSUPPORTED', { thing: THING, found, expected, ...(fix === undefined ? {} : { fix }) })

/**
 * The packing that a config.json states, or undefined for a float model.
 * @throws LOWBIT_UNSUPPORTED for a method or version that is not read here, LOWBIT_FORMAT for fields that are no numbers.
 */
export function checkpointFormat(config: Json): CheckpointFormat | undefined {
  const stated = config['quantization_config']
  if (!isObject(stated)) return isObject(config['quantization']) ? mlx(config['quantization']) : undefined
  const method = String(stated['quant_method'] ?? '')
  switch (method) {
    case 'gptq': return gptq(stated)
    case 'awq': return awq(stated)
    case 'compressed-tensors': return compressed(stated)
    case 'bitsandbytes': return bitsandbytes(stated)
    case 'bitnet': return bitnet(stated)
    default:
      // MLX writes its own field twice, without a method.
      if (method === '' && isObject(config['quantization'])) return mlx(config['quantization'])
      throw unsupported(method === '' ? 'no quant_method' : `quant_method '${method}'`, 'gptq, awq, compressed-tensors, bitsandbytes, bitnet, or MLX', 'use the float checkpoint of this model, or its GGUF file')
  }
}

function count(json: Json, key: string): number {
  const value = json[key]
  if (!Number.isSafeInteger(value)) throw new LowbitError('LOWBIT_FORMAT', { thing: `${THING}: ${key}`, found: JSON.stringify(value)?.slice(0, 80) ?? 'not there', expected: 'a whole number' })
  return Number(value)
}

function gptq(json: Json): CheckpointFormat {
  const bits = count(json, 'bits')
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) throw unsupported(`gptq with ${bits} bits`, '2, 3, 4 or 8')
  const format = json['checkpoint_format'] ?? 'gptq'
  if (format !== 'gptq' && format !== 'gptq_v2') throw unsupported(`checkpoint_format '${String(format)}'`, 'gptq or gptq_v2', 'save the checkpoint again in one of these')
  return { method: 'gptq', bits, groupSize: count(json, 'group_size'), format, actOrder: json['desc_act'] === true }
}

function awq(json: Json): CheckpointFormat {
  const version = String(json['version'] ?? 'gemm').toLowerCase()
  if (version !== 'gemm') throw unsupported(`awq version '${version}'`, 'gemm')
  const bits = count(json, json['bits'] === undefined ? 'w_bit' : 'bits')
  if (bits !== 4) throw unsupported(`awq with ${bits} bits`, '4')
  return { method: 'awq', groupSize: count(json, json['group_size'] === undefined ? 'q_group_size' : 'group_size') }
}

function compressed(json: Json): CheckpointFormat {
  const format = String(json['format'] ?? '')
  if (format !== 'pack-quantized') throw unsupported(`compressed-tensors format '${format}'`, 'pack-quantized')
  const groups = isObject(json['config_groups']) ? Object.values(json['config_groups']).filter(isObject) : []
  const known = groups.map((group) => {
    const weights = group['weights']
    if (!isObject(weights)) throw unsupported('no weights in config_groups', 'weights with num_bits')
    if (weights['type'] !== undefined && weights['type'] !== 'int') throw unsupported(`weights of type '${String(weights['type'])}'`, 'int')
    const size = weights['group_size']
    const options: CompressedOptions = { bits: count(weights, 'num_bits'), symmetric: weights['symmetric'] !== false, ...(typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? { groupSize: size } : {}) }
    return { options, layers: layersOf(group['targets']) }
  })
  const [first] = known.filter(({ layers }) => layers === undefined)
  if (first === undefined) throw unsupported('no weights in config_groups', 'weights with num_bits')
  const scheme = ({ bits, symmetric }: CompressedOptions): string => `${bits} bits, symmetric ${symmetric}`
  const others = new Set(known.filter(({ layers }) => layers === undefined).map(({ options }) => scheme(options)))
  if (others.size > 1) throw unsupported(`groups of ${[...others].join('; ')}`, 'one scheme for all weights, or others for layers by their names')
  const overrides = new Map(known.flatMap(({ layers, options }) => (layers ?? []).map((layer) => [layer, options] as const)))
  return { method: 'compressed-tensors', ...first.options, ...(overrides.size === 0 ? {} : { overrides }) }
}

/** Layers by their names; undefined for kinds (`Linear`) and patterns. */
function layersOf(targets: unknown): readonly string[] | undefined {
  return Array.isArray(targets) && targets.length > 0 && targets.every((target): target is string => typeof target === 'string' && target.includes('.')) ? targets : undefined
}

function bitsandbytes(json: Json): CheckpointFormat {
  if (json['load_in_8bit'] === true || json['load_in_4bit'] === false) throw unsupported('bitsandbytes with 8 bits', '4 bits: nf4 or fp4')
  return { method: 'bitsandbytes' }
}

function bitnet(json: Json): CheckpointFormat {
  const linear = json['linear_class'] ?? 'bitlinear'
  if (linear !== 'autobitlinear' && linear !== 'bitlinear') throw unsupported(`linear_class '${String(linear)}'`, 'autobitlinear or bitlinear')
  return { method: 'bitnet', linear }
}

function mlx(json: Json): CheckpointFormat {
  const mode = json['mode'] ?? 'affine'
  if (mode !== 'affine') throw unsupported(`MLX mode '${String(mode)}'`, 'affine')
  const overrides = new Map(Object.entries(json).flatMap(([name, value]) => (isObject(value) ? [[name, { bits: count(value, 'bits'), groupSize: count(value, 'group_size') }] as const] : [])))
  return { method: 'mlx', bits: count(json, 'bits'), groupSize: count(json, 'group_size'), overrides }
}

/** What transformers wants to find in config.json. `modules` stay float. */
export function quantizationConfig(format: CheckpointFormat, modules: readonly string[] = ['lm_head']): Json {
  switch (format.method) {
    case 'gptq': return { quant_method: 'gptq', bits: format.bits, group_size: format.groupSize, desc_act: format.actOrder, sym: false, checkpoint_format: format.format, modules_in_block_to_quantize: null }
    case 'awq': return { quant_method: 'awq', bits: 4, group_size: format.groupSize, zero_point: true, version: 'gemm', modules_to_not_convert: modules }
    case 'bitnet': return { quant_method: 'bitnet', linear_class: format.linear, quantization_mode: 'offline', modules_to_not_convert: modules }
    case 'bitsandbytes': return { quant_method: 'bitsandbytes', load_in_4bit: true, load_in_8bit: false, llm_int8_skip_modules: modules }
    case 'mlx': return { bits: format.bits, group_size: format.groupSize, mode: 'affine', ...Object.fromEntries([...format.overrides].map(([name, { bits, groupSize }]) => [name, { bits, group_size: groupSize }])) }
    case 'compressed-tensors': {
      const weights = ({ bits, symmetric, groupSize }: CompressedOptions): Json => ({ num_bits: bits, type: 'int', symmetric, dynamic: false, ...(groupSize === undefined ? {} : { strategy: 'group', group_size: groupSize }) })
      const own = [...(format.overrides ?? [])].map(([layer, options], i) => [`group_${i + 1}`, { targets: [layer], weights: weights(options) }] as const)
      return {
        quant_method: 'compressed-tensors', format: 'pack-quantized', quantization_status: 'compressed', ignore: modules,
        config_groups: { group_0: { targets: ['Linear'], weights: weights(format) }, ...Object.fromEntries(own) },
      }
    }
  }
}
