import { hasDType, LowbitError, type Artifact, type EmitOptions, type HostTensor, type QTensor } from '@lowbit/core'
import { ggufSize, writeGguf, type GgufModel, type GgufTensorSource, type GgufValue } from '@lowbit/formats/gguf'
import { layerName, LAYER_ROLES, MODEL_ROLES, type LayerRole, type ModelRole, type RoleNames } from '../../architecture/index.js'
import { architectureOf, partsOf, type Part } from '../../forward/parts.js'
import { halvesToNeighbours, reorderRows, type ModelMatrix } from '../../weights/matrix.js'
import { bytesOf } from '../bytes.js'
import { fileArtifact } from '../file-artifact.js'
import type { LmFormat, LmSnapshot } from '../lm-format.js'
import { describeGguf, padTokens } from './metadata.js'
import { ggufAccepts, storeGguf } from './store.js'

/** One GGUF file, for llama.cpp and everything that is built on it. */
export const ggufFormat: LmFormat = {
  name: 'gguf',
  settings: {},
  accepts: ggufAccepts,
  check: ({ config, name, tokenizer }) => {
    describeGguf(config, name)
    tokenizer()
  },
  // llama.cpp reads biases where it finds them for this architecture alone.
  takesBias: (config, role) => config.architecture === 'llama' && Object.hasOwn(LAYER_ROLES, `${role}.bias`),
  store: storeGguf,
  write: writeModel,
}

async function writeModel(model: LmSnapshot, options: EmitOptions): Promise<Artifact> {
  const { config, name } = model
  const { metadata, ropeFactors } = describeGguf(config, name)
  const notes: string[] = []
  const tokenizer = model.tokenizer()
  if (tokenizer === undefined) notes.push('the model has no tokenizer: llama.cpp needs one to open the file')
  else for (const [key, value] of padTokens(tokenizer, config.vocabulary, name)) metadata.set(key, value)
  if (options.provenance !== undefined) metadata.set('lowbit.recipe', { type: 'string', value: JSON.stringify(options.provenance.recipe) })
  const tensors: GgufTensorSource[] = ropeFactors === undefined ? [] : [{ name: 'rope_freqs.weight', type: 'F32', shape: [ropeFactors.length], data: async () => bytesOf(ropeFactors) }]
  for (const part of withBiases(model)) tensors.push(tensorOf(model, part))
  metadata.set('general.file_type', fileType(tensors))
  const file: GgufModel = { metadata, tensors }
  return fileArtifact('gguf', ggufSize(file), notes, (signal) => writeGguf(file, signal === undefined ? {} : { signal }), options.signal)
}

/** Biases that come together: a reader looks for one of them. */
const TOGETHER: readonly (readonly LayerRole[])[] = [['q.bias', 'k.bias', 'v.bias'], ['o.bias'], ['gate.bias', 'up.bias', 'down.bias']]

/** The parts of the configuration, and biases that came since: all layers have them, or none. */
function withBiases({ config, vectors }: LmSnapshot): readonly Part[] {
  const parts = partsOf(config)
  const known = new Set(parts.map(({ name }) => name))
  const roles = TOGETHER.filter((together) => together.some((role) => [...vectors.keys()].some((name) => name.endsWith(`.${role}`)))).flat()
  const added = Array.from({ length: config.layers }, (_, layer) => roles.map((role): Part => {
    const matrix = parts.find((p) => `${p.name}.bias` === layerName(layer, role))
    return { name: layerName(layer, role), role, layer, kind: 'vector', shape: [matrix?.shape[0] ?? 0] }
  })).flat()
  return [...parts, ...added.filter(({ name }) => !known.has(name))]
}

function tensorOf(model: LmSnapshot, part: Part): GgufTensorSource {
  const { config, source, codes, vectors } = model
  const architecture = architectureOf(config)
  const own: RoleNames | undefined = architecture.names?.[part.role]
  const name = part.layer === undefined ? (own ?? MODEL_ROLES[part.role as ModelRole]).gguf : `blk.${part.layer}.${(own ?? LAYER_ROLES[part.role as LayerRole]).gguf}`
  const turned = architecture.ggufRotatesNeighbours && /^[qk](\.bias)?$/.test(part.role) ? halvesToNeighbours(config.headSize) : undefined
  const base = { name, shape: part.shape }
  if (part.kind === 'vector') {
    const values = vectors.get(part.name) ?? new Float32Array(part.shape[0])
    return { ...base, type: 'F32', data: async () => bytesOf(turned === undefined ? values : values.map((_, i) => values[turned(i)])) }
  }
  const q = codes.get(part.name)
  if (q !== undefined) {
    const { type, bytes } = storeGguf(turned === undefined ? q : reorderedCodes(q, turned), part.name)
    return { ...base, type, data: async () => bytes }
  }
  const kept = model.isChanged(part) ? undefined : source.stored?.(part)
  // A file of the same kind has its rows in the same order.
  if (kept !== undefined) return { ...base, type: kept.type, data: () => kept.bytes() }
  const type = floatType(model, part)
  return { ...base, type, data: async () => floatBytes(await floatsOf(model, part, type), turned) }
}

function reorderedCodes(q: QTensor, source: (row: number) => number): QTensor {
  const moved = reorderRows(q, source)
  if (!('scheme' in moved)) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'rows of codes', found: 'no codes' })
  return moved
}

type FloatType = 'F32' | 'F16' | 'BF16'

/** What is unchanged keeps its type; what was changed is float32. */
function floatType(model: LmSnapshot, part: Part): FloatType {
  const type = model.source.typeOf(part)
  return !model.isChanged(part) && (type === 'F16' || type === 'BF16') ? type : 'F32'
}

async function floatsOf(model: LmSnapshot, part: Part, type: FloatType): Promise<ModelMatrix> {
  if (type !== 'F32') return model.source.matrix(part)
  return { dtype: 'float32', shape: part.shape, data: await model.floats(part) }
}

function floatBytes(m: ModelMatrix, turned: ((row: number) => number) | undefined): Uint8Array {
  const moved = turned === undefined ? m : reorderRows(m, turned)
  if ('codes' in moved) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'float matrix', found: 'codes' })
  return bytesOf(floatData(moved))
}

function floatData(m: HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>): Float32Array | Uint16Array {
  return hasDType(m, 'float32') ? m.data : m.data
}

/** Numbers that llama.cpp has for the type most of a file is in: for display only. */
const FILE_TYPES: Readonly<Record<string, number>> = { F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 7, Q5_0: 8, Q5_1: 9, Q2_K: 10, Q3_K: 12, Q4_K: 15, Q5_K: 17, Q6_K: 18, IQ4_NL: 25, BF16: 32, TQ1_0: 36, TQ2_0: 37, MXFP4: 38 }

function fileType(tensors: readonly GgufTensorSource[]): GgufValue {
  const counts = new Map<string, number>()
  for (const { type, shape } of tensors) if (shape.length === 2 && Object.hasOwn(FILE_TYPES, type)) counts.set(type, (counts.get(type) ?? 0) + shape[0] * shape[1])
  const [most = 'F32'] = [...counts].sort((a, b) => b[1] - a[1]).map(([type]) => type)
  return { type: 'uint32', value: FILE_TYPES[most] ?? 0 }
}
