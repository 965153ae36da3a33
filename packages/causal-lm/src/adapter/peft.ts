import { isCodeType, LowbitError, weightScheme, type HostTensor, type Scheme } from '@lowbit/core'
import { readSafetensors, writeSafetensors } from '@lowbit/formats'
import { readSmallFile, type FileSet } from '@lowbit/formats/gguf'
import { LAYER_ROLES, layerName, type LayerRole } from '../architecture/index.js'
import type { AdapterFactors, LoraAdapter } from './lora-adapter.js'

export const ADAPTER_CONFIG = 'adapter_config.json'
const WEIGHTS = 'adapter_model.safetensors'
const PREFIX = 'base_model.model.model.layers.'

/** An adapter is read whole. */
const MAX_CONFIG = 1 << 20
const MAX_WEIGHTS = 2 ** 31

const MODULES: Readonly<Record<string, LayerRole>> = Object.fromEntries((['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const).map((role) => [LAYER_ROLES[role].huggingFace.replace(/\.weight$/, ''), role]))

/** An adapter and the base that it belongs to, as `adapter_config.json` names it. */
export interface AdapterFile {
  readonly adapter: LoraAdapter
  readonly base: string
}

/**
 * An adapter in the files of PEFT. How the base was quantized stands under `lowbit`, which other tools pass over.
 * @param base path or name of the base
 */
export function writePeft(adapter: LoraAdapter, base: string): ReadonlyMap<string, Uint8Array<ArrayBuffer>> {
  const { rank, alpha, sites, layers } = adapter
  const tensors: Record<string, HostTensor> = {}
  const modules = new Set<string>()
  const put = (name: string, { down, up }: AdapterFactors, kinds: readonly [string, string]): void => {
    const { layer, module } = moduleOf(name)
    modules.add(module.split('.').at(-1) ?? module)
    const at = `${PREFIX}${layer}.${module}`
    tensors[`${at}.${kinds[0]}.weight`] = { dtype: 'float32', shape: [rank, down.length / rank], data: new Float32Array(down) }
    tensors[`${at}.${kinds[1]}.weight`] = { dtype: 'float32', shape: [up.length / rank, rank], data: new Float32Array(up) }
  }
  for (const [name, factors] of sites) put(name, factors, ['lora_A', 'lora_B'])
  const from: Record<string, HostTensor> = {}
  for (const [name, { down, up }] of adapter.base?.from ?? []) {
    from[`${name}/down`] = { dtype: 'float32', shape: [rank, down.length / rank], data: new Float32Array(down) }
    from[`${name}/up`] = { dtype: 'float32', shape: [up.length / rank, rank], data: new Float32Array(up) }
  }
  const config = {
    peft_type: 'LORA', task_type: 'CAUSAL_LM', base_model_name_or_path: base, r: rank, lora_alpha: alpha, lora_dropout: 0, bias: 'none',
    fan_in_fan_out: false, inference_mode: true, init_lora_weights: true, target_modules: [...modules],
    lowbit: { layers: layers ?? null, base: adapter.base === undefined ? null : { ...schemeJson(adapter.base.scheme), doubleQuantized: adapter.base.doubleQuantized } },
  }
  return new Map([
    [WEIGHTS, writeSafetensors(tensors, { format: 'pt' })],
    ...(Object.keys(from).length === 0 ? [] : [[BASE_FROM, writeSafetensors(from)] as const]),
    [ADAPTER_CONFIG, new TextEncoder().encode(JSON.stringify(config, null, 2))],
  ])
}

/** Factors that the base was quantized without: a file of its own, so that PEFT's has what PEFT knows. */
const BASE_FROM = 'lowbit_base.safetensors'

function moduleOf(name: string): { readonly layer: string; readonly module: string } {
  const [, layer, role] = name.split('.')
  const module = Object.keys(MODULES).find((key) => MODULES[key] === role)
  if (module === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'adapter', found: `a matrix ${name}`, expected: 'projections of layers' })
  return { layer, module }
}

interface SchemeJson {
  readonly dtype: string
  readonly group?: number
  readonly symmetric: boolean
}

const schemeJson = ({ dtype, granularity, symmetric }: Scheme): SchemeJson => ({ dtype, symmetric, ...(granularity.kind === 'group' ? { group: granularity.size } : {}) })

/** @throws LOWBIT_FORMAT, LOWBIT_UNSUPPORTED, LOWBIT_NOT_FOUND for files that hold no LoRA adapter */
export async function readPeft(files: FileSet): Promise<AdapterFile> {
  const thing = `${files.name}: ${ADAPTER_CONFIG}`
  const json = parse(new TextDecoder().decode(await readSmallFile(files, ADAPTER_CONFIG, MAX_CONFIG)), thing)
  if (json['peft_type'] !== 'LORA') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `peft_type ${String(json['peft_type'])}`, expected: 'LORA' })
  for (const [key, usual] of [['use_dora', false], ['use_rslora', false], ['bias', 'none'], ['fan_in_fan_out', false]] as const) {
    const found = json[key]
    if (found !== undefined && found !== null && found !== usual) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${key} ${JSON.stringify(found)}`, expected: String(usual) })
  }
  const [rank, alpha, base] = [json['r'], json['lora_alpha'], json['base_model_name_or_path']]
  if (!isCount(rank) || typeof alpha !== 'number' || !Number.isFinite(alpha) || typeof base !== 'string') throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no rank, alpha or base', expected: 'r, lora_alpha and base_model_name_or_path' })
  const own = asObject(json['lowbit'])
  const layers = own?.['layers']
  const scheme = asObject(own?.['base'])
  const names = await files.list()
  const from = names.includes(BASE_FROM) ? await factorsOf(files, BASE_FROM, (name) => name) : new Map<string, AdapterFactors>()
  return {
    base,
    adapter: {
      rank, alpha,
      sites: await factorsOf(files, WEIGHTS, siteOf),
      ...(isCount(layers) ? { layers } : {}),
      ...(scheme === undefined ? {} : { base: { scheme: readScheme(scheme, thing), doubleQuantized: scheme['doubleQuantized'] === true, from } }),
    },
  }
}

function parse(text: string, thing: string): Readonly<Record<string, unknown>> {
  try {
    const json = asObject(JSON.parse(text))
    if (json !== undefined) return json
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no JSON', expected: 'the configuration of an adapter', cause })
  }
  throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no object', expected: 'the configuration of an adapter' })
}

const asObject = (value: unknown): Readonly<Record<string, unknown>> | undefined => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined)

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 1

function readScheme(json: Readonly<Record<string, unknown>>, thing: string): Scheme {
  const { dtype, group, symmetric } = json
  if (typeof dtype !== 'string' || !isCodeType(dtype) || (group !== undefined && !isCount(group))) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `a base in ${JSON.stringify(json).slice(0, 80)}`, expected: 'a code type and a group' })
  return weightScheme(dtype, { ...(group === undefined ? {} : { group }), ...(symmetric === false ? { symmetric } : {}) })
}

/** `…layers.3.self_attn.q_proj.lora_A` → `layers.3.q/down`. @throws LOWBIT_UNSUPPORTED for other tensors. */
function siteOf(name: string, thing: string): string {
  const match = /^base_model\.model\.model\.layers\.(\d+)\.([\w.]+)\.lora_([AB])(?:\.default)?\.weight$/.exec(name)
  const role = match === null || !Object.hasOwn(MODULES, match[2]) ? undefined : MODULES[match[2]]
  if (match === null || role === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `tensor '${name.slice(0, 100)}'`, expected: 'lora_A and lora_B of the projections of layers' })
  return `${layerName(Number(match[1]), role)}/${match[3] === 'A' ? 'down' : 'up'}`
}

async function factorsOf(files: FileSet, file: string, siteName: (name: string, thing: string) => string): Promise<Map<string, AdapterFactors>> {
  const thing = `${files.name}: ${file}`
  const read = readSafetensors(await readSmallFile(files, file, MAX_WEIGHTS), thing)
  const halves = new Map<string, { down?: Float32Array; up?: Float32Array }>()
  for (const name of read.entries.keys()) {
    const tensor = read.read(name)
    const [site, half] = splitAt(siteName(name, thing))
    if (half !== 'down' && half !== 'up') throw new LowbitError('LOWBIT_FORMAT', { thing, found: `tensor '${name.slice(0, 100)}'`, expected: 'two matrices a site' })
    if (tensor.dtype !== 'float32' || !tensor.data.every((v) => Number.isFinite(v))) throw new LowbitError(tensor.dtype === 'float32' ? 'LOWBIT_NONFINITE' : 'LOWBIT_UNSUPPORTED', { thing: `${thing}: ${name}`, found: tensor.dtype === 'float32' ? 'values that are not finite' : tensor.dtype, expected: 'finite float32 values' })
    halves.set(site, { ...halves.get(site), [half]: tensor.data as Float32Array })
  }
  const factors = new Map<string, AdapterFactors>()
  for (const [site, { down, up }] of halves) {
    if (down === undefined || up === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `${site} without ${down === undefined ? 'lora_A' : 'lora_B'}`, expected: 'both' })
    factors.set(site, { down, up })
  }
  return factors
}

function splitAt(name: string): readonly [string, string] {
  const at = name.lastIndexOf('/')
  return [name.slice(0, at), name.slice(at + 1)]
}
