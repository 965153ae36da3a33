import { halfScale, LowbitError, toFloat16, type HostTensor, type QTensor } from '@lowbit/core'
import { writeSafetensors } from '@lowbit/formats'
import { groupedFromQTensor, quantizationConfig, writeCompressed, type CompressedOptions, type GroupedWeight } from '@lowbit/formats/checkpoints'
import { writeGguf, type FileSet, type GgufMetadata } from '@lowbit/formats/gguf'
import { FOLDER_LIMITS, readCompanions, readSmallFile } from '@lowbit/formats/huggingface'
import { LAYER_ROLES, MODEL_ROLES, type LayerRole, type ModelRole, type RoleNames } from '../../architecture/index.js'
import { architectureOf, partsOf, type Part } from '../../forward/parts.js'
import { TOKENIZER_GGUF } from '../../open/model-file.js'
import type { TrainedModel } from './convert.js'
import { folderConfig } from './folder-config.js'

export interface FolderSources {
  /** The folder that the model came from: its configuration and tokenizer are taken over. */
  readonly files?: FileSet
  /** Else the tokenizer in the keys of GGUF. */
  readonly tokenizer?: GgufMetadata
  /** How floats that are left are stored. Default `float16`; gains and biases are always float32. */
  readonly floats?: 'float16' | 'float32'
}

/** Files by name; the configuration is the last, so that a folder that has it is whole. */
export type FolderFiles = ReadonlyMap<string, Uint8Array<ArrayBuffer>>

/**
 * A trained model as the folder of transformers: `model.safetensors` with codes packed as compressed-tensors packs them,
 * `config.json`, the tokenizer. Scales become float16; the codes are those of the training.
 *
 * Balanced levels take one bit more here: `±½, ±1½` of a scale are the odd numbers of half of it. Groups that do not divide a row are
 * written all the same; transformers refuses those.
 * @throws LOWBIT_UNSUPPORTED for a configuration or codes that the folder has no words for
 */
export async function modelFolder(model: TrainedModel, sources: FolderSources = {}): Promise<FolderFiles> {
  const { config, name } = model
  const hasConfig = sources.files !== undefined && (await sources.files.list()).includes('config.json')
  const before = sources.files !== undefined && hasConfig ? (JSON.parse(new TextDecoder().decode(await readSmallFile(sources.files, 'config.json', FOLDER_LIMITS.jsonBytes))) as Record<string, unknown>) : undefined
  const json = folderConfig(config, before, name)
  const tensors: Record<string, HostTensor> = {}
  const schemes = new Map<string, CompressedOptions>()
  for (const part of partsOf(config)) {
    const tensor = nameOf(part, model)
    const q = model.codes.get(part.name)
    if (q === undefined) {
      tensors[tensor] = floatTensor(model, part, sources.floats ?? 'float16')
      continue
    }
    const layer = tensor.replace(/\.weight$/, '')
    const w = packable(q, part.name)
    for (const [role, packed] of Object.entries(writeCompressed(w, 'float16', part.name, true).tensors)) tensors[`${layer}.${role}`] = packed
    schemes.set(layer, { bits: w.bits, symmetric: w.zeroPoints?.every((z) => z === 2 ** (w.bits - 1)) === true, ...(w.group === w.shape[1] ? {} : { groupSize: w.group }) })
  }
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  files.set('model.safetensors', writeSafetensors(tensors, { format: 'pt' }))
  const companions = sources.files === undefined ? [] : await readCompanions(sources.files)
  if (companions.some((file) => file.name === 'tokenizer.json')) for (const file of companions) files.set(file.name, file.bytes)
  else if (sources.tokenizer !== undefined) files.set(TOKENIZER_GGUF, await tokenizerFile(sources.tokenizer))
  const text = JSON.stringify({ ...json, ...(schemes.size === 0 ? {} : { quantization_config: stated(schemes) }) }, null, 2)
  files.set('config.json', new TextEncoder().encode(text))
  return files
}

/** The scheme of most layers for all, and what differs by name. */
function stated(schemes: ReadonlyMap<string, CompressedOptions>): Readonly<Record<string, unknown>> {
  const key = (o: CompressedOptions): string => JSON.stringify([o.bits, o.symmetric, o.groupSize])
  const counts = new Map<string, number>()
  for (const options of schemes.values()) counts.set(key(options), (counts.get(key(options)) ?? 0) + 1)
  const [most] = [...counts].sort((a, b) => b[1] - a[1])
  const usual = [...schemes.values()].find((options) => key(options) === most[0]) ?? { bits: 4, symmetric: true }
  return quantizationConfig({ method: 'compressed-tensors', ...usual, overrides: new Map([...schemes].filter(([, options]) => key(options) !== most[0])) }, [])
}

/** Codes with integer zero points and float16 scales. */
function packable(q: QTensor, thing: string): GroupedWeight {
  const { dtype, granularity } = q.scheme
  const scales = q.params.scales.map((s) => halfScale(s))
  const [rows, columns] = q.shape
  if (dtype === 'ternary' || dtype === 'binary' || q.scheme.zeroPoint === 'float' || granularity.kind === 'tensor') {
    const zeros = q.params.zeroPoints
    const isBalanced = zeros !== undefined && zeros.every((z) => z === -0.5)
    if (zeros !== undefined && !isBalanced && !zeros.every(Number.isInteger)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'zero points that are fractions', expected: 'integers, or levels in the middle of steps', fix: 'train with balanced() or symmetric weights' })
    const group = granularity.kind === 'group' ? granularity.size : columns
    const perRow = Math.ceil(columns / group)
    const bits = isBalanced ? 3 : dtype === 'ternary' || dtype === 'binary' ? 2 : 8
    const middle = 2 ** (bits - 1)
    const levels = isBalanced ? Int8Array.from(q.codes, (code) => 2 * code + 1) : q.codes
    const own = granularity.kind === 'tensor' ? new Float32Array(rows * perRow).fill(scales[0]) : isBalanced ? scales.map((s) => halfScale(s / 2)) : scales
    return { shape: [rows, columns], bits, group, codes: Uint8Array.from(levels, (level) => level + middle), scales: own, zeroPoints: Int32Array.from(own, (_, i) => middle + (isBalanced || zeros === undefined ? 0 : zeros[i])) }
  }
  return groupedFromQTensor({ ...q, params: { ...q.params, scales } })
}

function floatTensor(model: TrainedModel, part: Part, type: 'float16' | 'float32'): HostTensor {
  const { storedGain } = architectureOf(model.config)
  if (part.kind === 'vector') {
    const values = new Float32Array(model.vectors.get(part.name) ?? [])
    return { dtype: 'float32', shape: part.shape, data: storedGain === 'gain - 1' && part.role.endsWith('norm') ? values.map((v) => v - 1) : values }
  }
  const values = new Float32Array(model.floats.get(part.name) ?? [])
  return type === 'float32' ? { dtype: 'float32', shape: part.shape, data: values } : { dtype: 'float16', shape: part.shape, data: toFloat16(values) }
}

function nameOf(part: Part, { config }: TrainedModel): string {
  const own: RoleNames | undefined = architectureOf(config).names?.[part.role]
  return part.layer === undefined ? (own ?? MODEL_ROLES[part.role as ModelRole]).huggingFace : `model.layers.${part.layer}.${(own ?? LAYER_ROLES[part.role as LayerRole]).huggingFace}`
}

async function tokenizerFile(metadata: GgufMetadata): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = []
  for await (const piece of writeGguf({ metadata, tensors: [] })) pieces.push(piece)
  const out = new Uint8Array(pieces.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

/** Writes a folder, file by file, each whole or not at all; what says that it is a model comes last. Node. */
export async function saveFolder(path: string, files: FolderFiles): Promise<void> {
  const { atomicWrite, join, makeFolder } = await import('@lowbit/formats/node')
  await makeFolder(path)
  for (const [name, bytes] of files) await atomicWrite(join(path, name), [bytes])
}
