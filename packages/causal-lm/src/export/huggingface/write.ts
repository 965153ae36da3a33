import { bitsOf, codeRange, describeScheme, isIntegerCode, LowbitError, partOf, roundToFloat16, zeroPointsOf, type Acceptance, type Artifact, type EmitOptions, type HostTensor, type QTensor, type Scheme, type Site } from '@lowbit/core'
import { safetensorsChunks } from '@lowbit/formats'
import { writeGptq, type GptqFormat, type GroupedWeight } from '@lowbit/formats/checkpoints'
import { LAYER_ROLES, MODEL_ROLES, type LayerRole, type ModelRole, type RoleNames } from '../../architecture/index.js'
import type { ModelConfig } from '../../config/model-config.js'
import { architectureOf, partsOf, type Part } from '../../forward/parts.js'
import { folderArtifact, jsonFile } from '../folder-artifact.js'
import { huggingFaceJson, parseConfig } from '../hugging-face-json.js'
import type { LmFormat, LmSnapshot, StoredWeight } from '../lm-format.js'
import { companions, textOf } from '../onnx/write.js'
import { withScales } from '../with-scales.js'

/** A folder for transformers, vLLM and others: safetensors with the packing of GPTQ tools, configuration and tokenizer. */
export const huggingFaceFormat: LmFormat = {
  name: 'huggingface',
  settings: {},
  accepts: gptqAccepts,
  check: () => {},
  takesBias: ({ architecture }) => architecture === 'llama',
  store: storeGptq,
  write: writeModel,
}

/** Whether the packing of GPTQ tools takes codes: one kind for the whole model, embedding and head in float. */
function gptqAccepts({ id, weight: { rows, columns } }: Site, scheme: Scheme): Acceptance {
  const { dtype, granularity } = scheme
  if (id === 'embed' || id === 'head') return { ok: false, reason: 'checkpoints of GPTQ tools keep embedding and head in float' }
  if (!isIntegerCode(dtype) || ![2, 3, 4, 8].includes(bitsOf(dtype)) || dtype === 'ternary' || scheme.zeroPoint === 'float') return { ok: false, reason: `GPTQ's packing holds 2, 3, 4 and 8 bits with whole zero points, not ${describeScheme(scheme)}` }
  if (granularity.kind === 'tensor' || granularity.kind === 'token' || granularity.axis !== (granularity.kind === 'group' ? 1 : 0)) return { ok: false, reason: "GPTQ's packing has groups along K, or one scale a row" }
  if (rows % 32 !== 0 || columns % 32 !== 0) return { ok: false, reason: `GPTQ's packing needs N and K to be multiples of 32, and they are ${rows} and ${columns}` }
  if (granularity.kind === 'group' && columns % granularity.size !== 0) return { ok: false, reason: `GPTQ's packing needs whole groups of ${granularity.size}, and K is ${columns}` }
  return { ok: true }
}

/** What version 1 cannot say, readers of it disagree about: asymmetric weights take version 2. */
const versionOf = ({ symmetric }: Scheme): GptqFormat => (symmetric ? 'gptq' : 'gptq_v2')

function groupOf({ granularity }: Scheme, columns: number): number {
  return granularity.kind === 'group' ? granularity.size : columns
}

/** Codes with scales of float16, as the packing has them. */
const rounded = (q: QTensor): QTensor => withScales(q, roundToFloat16)

/** Bytes of the packing, and what it stands for. */
function storeGptq(decided: QTensor): StoredWeight {
  const q = rounded(decided)
  const [rows = 0, columns = 0] = q.shape
  const bits = bitsOf(q.scheme.dtype)
  const groups = Math.ceil(columns / groupOf(q.scheme, columns))
  const tensor = (role: string, type: string, shape: readonly number[], bytes: number): StoredWeight['tensors'][number] => ({ role, type, shape, bytes })
  return {
    form: versionOf(q.scheme),
    parts: [partOf(q)],
    tensors: [tensor('codes', 'int32', [(columns * bits) / 32, rows], (rows * columns * bits) / 8), tensor('zeroPoints', 'int32', [groups, (rows * bits) / 32], (groups * rows * bits) / 8), tensor('scales', 'float16', [groups, rows], 2 * groups * rows), tensor('groups', 'int32', [columns], 4 * columns)],
  }
}

function grouped(decided: QTensor): GroupedWeight {
  const q = rounded(decided)
  const [rows = 0, columns = 0] = q.shape
  const offset = -codeRange(q.scheme.dtype).min
  return { shape: [rows, columns], bits: bitsOf(q.scheme.dtype), group: groupOf(q.scheme, columns), codes: Uint8Array.from(q.codes, (code) => code + offset), scales: q.params.scales, zeroPoints: Int32Array.from(zeroPointsOf(q), (zero) => zero + offset) }
}

async function writeModel(model: LmSnapshot, { signal, provenance }: EmitOptions): Promise<Artifact> {
  const { name } = model
  const config = withBiases(model)
  const scheme = oneScheme(model)
  const tensors: Record<string, HostTensor> = {}
  for (const part of partsOf(config)) {
    const stored = nameOf(model, part)
    const q = model.codes.get(part.name)
    if (q === undefined) tensors[stored] = await floatTensor(model, part)
    else for (const [role, tensor] of Object.entries(writeGptq(grouped(q), versionOf(q.scheme), part.name))) tensors[stored.replace(/weight$/, role)] = tensor
  }
  const notes: string[] = []
  const files = await companions(model, notes)
  const own = files.find((file) => file.name === 'config.json')
  const json = own === undefined ? huggingFaceJson(config, name) : parseConfig(await textOf(own), name)
  const plain = Object.fromEntries(Object.entries(json).filter(([key]) => key !== 'quantization_config'))
  const packing = scheme === undefined ? {} : { quantization_config: quantizationConfig(scheme, config.width) }
  const metadata = { format: 'pt', ...(provenance === undefined ? {} : { 'lowbit.recipe': JSON.stringify(provenance.recipe) }) }
  const { size } = safetensorsChunks(tensors, metadata)
  return folderArtifact({
    format: 'huggingface',
    size,
    notes,
    signal,
    bytes: () => {
      const whole = new Uint8Array(size)
      let at = 0
      for (const chunk of safetensorsChunks(tensors, metadata).chunks) {
        whole.set(chunk, at)
        at += chunk.length
      }
      return whole
    },
    files: [{ name: 'model.safetensors', pieces: () => safetensorsChunks(tensors, metadata).chunks }, ...files.filter((file) => file.name !== 'config.json'), jsonFile('config.json', { ...plain, ...biasFlags(config, model.config), ...packing })],
  })
}

/** With the biases that came since: transformers has those of attention, output included, for all layers or none, and those of the MLP. */
function withBiases({ config, vectors }: LmSnapshot): ModelConfig {
  const has = (roles: readonly LayerRole[]): boolean => [...vectors.keys()].some((name) => roles.some((role) => name.endsWith(`.${role}`)))
  const attention = has(['q.bias', 'k.bias', 'v.bias', 'o.bias'])
  const { qkv, output, mlp } = config.biases
  const own = architectureOf(config).biases
  return { ...config, biases: { qkv: qkv || attention, output: output || (attention && !own.qkv), mlp: mlp || has(['gate.bias', 'up.bias', 'down.bias']) } }
}

/** What config.json says of biases that the model did not have. */
function biasFlags({ biases }: ModelConfig, before: ModelConfig): Readonly<Record<string, boolean>> {
  return { ...(biases.output && !before.biases.output ? { attention_bias: true } : {}), ...(biases.mlp && !before.biases.mlp ? { mlp_bias: true } : {}) }
}

function quantizationConfig(scheme: Scheme, columns: number): object {
  return {
    quant_method: 'gptq', bits: bitsOf(scheme.dtype), group_size: scheme.granularity.kind === 'group' ? groupOf(scheme, columns) : -1,
    desc_act: false, sym: scheme.symmetric, lm_head: false, static_groups: false, true_sequential: true, checkpoint_format: versionOf(scheme),
  }
}

/** Readers of the packing take one kind of codes for all layers. @throws LOWBIT_UNSUPPORTED for several */
function oneScheme({ codes, name }: LmSnapshot): Scheme | undefined {
  const kinds = new Map([...codes.values()].map(({ scheme }) => [`${bitsOf(scheme.dtype)} bits, group ${scheme.granularity.kind === 'group' ? scheme.granularity.size : 'K'}, ${scheme.symmetric ? 'symmetric' : 'asymmetric'}`, scheme]))
  if (kinds.size > 1) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: `codes of several kinds (${[...kinds.keys()].join('; ')})`, expected: "one for all matrices: config.json states GPTQ's packing once", fix: 'leave the others in float, or write GGUF' })
  return [...kinds.values()][0]
}

function nameOf({ config }: LmSnapshot, part: Part): string {
  const own: RoleNames | undefined = architectureOf(config).names?.[part.role]
  if (part.layer === undefined) return (own ?? MODEL_ROLES[part.role as ModelRole]).huggingFace
  return `model.layers.${part.layer}.${(own ?? LAYER_ROLES[part.role as LayerRole]).huggingFace}`
}

/** What is unchanged keeps its type. */
async function floatTensor(model: LmSnapshot, part: Part): Promise<HostTensor> {
  if (part.kind === 'vector') {
    const values = model.vectors.get(part.name) ?? new Float32Array(part.shape[0])
    const isLess = architectureOf(model.config).storedGain === 'gain - 1' && part.role.endsWith('norm')
    return { dtype: 'float32', shape: part.shape, data: isLess ? values.map((v) => v - 1) : Float32Array.from(values) }
  }
  if (!model.isChanged(part)) {
    const matrix = await model.source.matrix(part)
    if (!('codes' in matrix)) return matrix
  }
  return { dtype: 'float32', shape: part.shape, data: await model.floats(part) }
}
