import { LowbitError, throwIfAborted, type HostTensor, type OnProgress } from '@lowbit/core'
import type { FileSet } from '../bytes/file-set.js'
import { readCompanions } from '../huggingface/companions.js'
import type { HuggingFaceFolder } from '../huggingface/folder.js'
import { writeSafetensors } from '../tensors/safetensors.js'
import { checkpointFormat, quantizationConfig, type CheckpointFormat } from './checkpoint-format.js'
import { compareWeights, type WeightDifference } from './compare-weights.js'
import type { CompressedOptions } from './compressed-tensors.js'
import { fitPacking } from './fit-packing.js'
import type { GroupedWeight } from './grouped-weight.js'
import { readPacking, writePacking, type Packing } from './packing.js'
import { isPackedWeight, readPackedWeight } from './read-packed.js'

/** What became of one weight. */
export interface RepackedWeight extends WeightDifference {
  readonly layer: string
  readonly shape: readonly [number, number]
  /** What had to be changed, in words. */
  readonly changed?: string
}

/** A file of the new folder. The configuration comes last: a folder that has it is whole. */
export interface RepackedFile {
  readonly name: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

export interface RepackOptions {
  /** Bytes of tensors a file at most, which are in memory at once. Default 1 GB. */
  readonly shardBytes?: number
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
  /** Called with each weight, after it was read back from its new tensors. */
  readonly onWeight?: (weight: RepackedWeight) => void
}

/**
 * A folder of packed weights in another packing, file by file. Every weight is read back from what is written and compared with what
 * it was; tensors that are not packed are taken over as they are.
 * @param files - the folder's other files
 * @throws LOWBIT_UNSUPPORTED for a float folder, weights that the packing does not hold, mixed bits where it has one for all; LOWBIT_ABORTED
 */
export async function* repackFolder(folder: HuggingFaceFolder, files: FileSet, to: Packing, { shardBytes = 1e9, signal, onProgress, onWeight }: RepackOptions = {}): AsyncGenerator<RepackedFile> {
  const from = checkpointFormat(folder.config)
  if (from === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: folder.name, found: 'float weights', expected: 'packed ones', fix: 'quantize it: lowbit lm quantize' })
  const layers = packedLayers(folder, from)
  const others = [...folder.tensors.keys()].filter((name) => !isPartOf(name, layers))
  const shards: { readonly name: string; readonly tensors: readonly string[] }[] = []
  let tensors: Record<string, HostTensor> = {}
  let bytes = 0
  let total = 0
  const scheme: Noted = { actOrder: false, mixed: new Map() }
  const flush = (): RepackedFile => {
    const name = `model-${String(shards.length + 1).padStart(5, '0')}.safetensors`
    const file = { name, bytes: writeSafetensors(tensors, { format: 'pt' }) }
    shards.push({ name, tensors: Object.keys(tensors) })
    ;[tensors, bytes] = [{}, 0]
    return file
  }
  const steps = [...layers].length + others.length
  let done = 0
  for (const layer of layers) {
    throwIfAborted(signal, 'repacking')
    const before = await readPackedWeight(folder, layer, from)
    const { weight, changed } = fitPacking(before, to, layer)
    const packed = writePacking(weight, to, layer)
    const after = readPacking(packed, to, weight, layer)
    onWeight?.({ layer, shape: before.shape, ...compareWeights(before, after), ...(changed === undefined ? {} : { changed }) })
    note(scheme, layer, weight, to)
    const size = Object.values(packed).reduce((sum, t) => sum + t.data.byteLength, 0)
    if (bytes > 0 && bytes + size > shardBytes) yield flush()
    for (const [role, tensor] of Object.entries(packed)) tensors[`${layer}.${role}`] = tensor
    ;[bytes, total] = [bytes + size, total + size]
    onProgress?.({ phase: 'emit', done: ++done, total: steps, item: layer })
  }
  for (const name of others) {
    throwIfAborted(signal, 'repacking')
    const tensor = await folder.host(name)
    if (bytes > 0 && bytes + tensor.data.byteLength > shardBytes) yield flush()
    tensors[name] = tensor
    ;[bytes, total] = [bytes + tensor.data.byteLength, total + tensor.data.byteLength]
    onProgress?.({ phase: 'emit', done: ++done, total: steps, item: name })
  }
  yield flush()
  yield { name: 'model.safetensors.index.json', bytes: json({ metadata: { total_size: total }, weight_map: Object.fromEntries(shards.flatMap((s) => s.tensors.map((t) => [t, s.name]))) }) }
  yield* await readCompanions(files)
  yield { name: 'config.json', bytes: json(configOf(folder, to, scheme)) }
}

function packedLayers(folder: HuggingFaceFolder, from: CheckpointFormat): ReadonlySet<string> {
  const names = [...folder.tensors.keys()].flatMap((name) => /^(.+)\.(qweight|weight_packed|weight)$/.exec(name)?.[1] ?? [])
  const layers = new Set(names.filter((layer) => isPackedWeight(folder, layer, from)))
  if (layers.size === 0) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: folder.name, found: `no weight packed as ${from.method}`, expected: 'what config.json says', fix: 'lowbit doctor looks further' })
  return layers
}

/** True for the tensors that the packing is made of; biases of the layer are its own. */
function isPartOf(name: string, layers: ReadonlySet<string>): boolean {
  for (let at = name.lastIndexOf('.'); at > 0; at = name.lastIndexOf('.', at - 1)) if (layers.has(name.slice(0, at))) return !name.endsWith('.bias')
  return false
}

/** How one weight is stored. */
interface Scheme {
  readonly bits: number
  readonly groupSize: number
  readonly symmetric: boolean
}

/** What the configuration will say: the scheme of the first weight, and of those that differ. */
interface Noted {
  first?: Scheme
  actOrder: boolean
  readonly mixed: Map<string, Scheme>
}

function note(noted: Noted, layer: string, w: GroupedWeight, to: Packing): void {
  const scheme = { bits: w.bits, groupSize: w.group >= w.shape[1] && to !== 'mlx' ? -1 : w.group, symmetric: w.zeroPoints?.every((z) => z === 2 ** (w.bits - 1)) ?? false }
  const first = (noted.first ??= scheme)
  noted.actOrder ||= w.columns !== undefined
  const differs = first.bits !== scheme.bits || first.groupSize !== scheme.groupSize
  if ((differs && to === 'mlx') || ((differs || first.symmetric !== scheme.symmetric) && to === 'compressed-tensors')) noted.mixed.set(layer, scheme)
  else if (differs && (to === 'gptq' || to === 'gptq_v2' || to === 'awq')) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: layer, found: `${scheme.bits} bits in groups of ${scheme.groupSize}, after ${first.bits} bits in groups of ${first.groupSize}`, expected: `one scheme for all weights of ${to}`, fix: 'choose mlx or compressed-tensors' })
}

function configOf({ config, name }: HuggingFaceFolder, to: Packing, noted: Noted): Record<string, unknown> {
  const rest = Object.fromEntries(Object.entries(config).filter(([key]) => key !== 'quantization' && key !== 'quantization_config'))
  const { first = { bits: 4, groupSize: -1, symmetric: false } } = noted
  if (to === 'mlx') {
    const stated = quantizationConfig({ method: 'mlx', ...first, overrides: noted.mixed })
    return { ...rest, quantization: stated, quantization_config: stated }
  }
  return { ...rest, quantization_config: quantizationConfig(formatOf(name, to, first, noted), skipped(config['quantization_config'])) }
}

function formatOf(name: string, to: Exclude<Packing, 'mlx'>, { bits, groupSize, symmetric }: Scheme, { actOrder, mixed }: Noted): CheckpointFormat {
  switch (to) {
    case 'gptq':
    case 'gptq_v2':
      if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: `${bits} bits`, expected: '2, 3, 4 or 8' })
      return { method: 'gptq', bits, groupSize, format: to, actOrder }
    case 'awq': return { method: 'awq', groupSize }
    case 'compressed-tensors': {
      const options = ({ groupSize: size, ...scheme }: Scheme): CompressedOptions => (size === -1 ? scheme : { ...scheme, groupSize: size })
      return { method: 'compressed-tensors', ...options({ bits, groupSize, symmetric }), overrides: new Map([...mixed].map(([layer, scheme]) => [layer, options(scheme)])) }
    }
    case 'bitnet': return { method: 'bitnet', linear: 'autobitlinear' }
    default: return { method: 'bitsandbytes' }
  }
}

/** Modules that the old configuration leaves in float. */
function skipped(before: unknown): readonly string[] {
  if (typeof before !== 'object' || before === null) return []
  for (const key of ['modules_to_not_convert', 'ignore', 'llm_int8_skip_modules']) {
    const list: unknown = Reflect.get(before, key)
    if (Array.isArray(list)) return list.filter((name): name is string => typeof name === 'string')
  }
  return ['lm_head']
}

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value, null, 2))
