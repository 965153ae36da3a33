import { hasDType, LowbitError, type HostTensor } from '@lowbit/core'
import type { HuggingFaceFolder } from '@lowbit/formats/huggingface'
import { LAYER_ROLES, MODEL_ROLES, type LayerRole, type ModelRole, type RoleNames } from '../architecture/index.js'
import { Fields } from '../config/fields.js'
import { huggingFaceConfig } from '../config/hugging-face.js'
import { architectureOf, partsOf, type Part } from '../forward/parts.js'
import { checkParts } from './check-parts.js'
import { expectFinite, expectFiniteMatrix, matrixFloats, type ModelMatrix } from './matrix.js'
import { unpackTernary } from './unpack-ternary.js'
import type { WeightSource } from './weight-source.js'

/** How the linear layers of a folder are packed; undefined: they are floats. */
type Packing = { readonly scale: 'multiplies' | 'divides' } | undefined

const LINEAR: ReadonlySet<string> = new Set(['q', 'k', 'v', 'o', 'gate', 'up', 'down'])

/**
 * The weights of a Hugging Face folder.
 * @throws LOWBIT_UNSUPPORTED, LOWBIT_FORMAT, LOWBIT_NOT_FOUND, LOWBIT_SHAPE if configuration and tensors do not make a model.
 */
export function huggingFaceWeights(folder: HuggingFaceFolder): WeightSource {
  const config = huggingFaceConfig(folder.config, `${folder.name}: config.json`)
  const architecture = architectureOf(config)
  const packing = readPacking(folder)
  const nameOf = (part: Part): string => {
    const own: RoleNames | undefined = architecture.names?.[part.role]
    if (part.layer === undefined) return (own ?? MODEL_ROLES[part.role as ModelRole]).huggingFace
    return `model.layers.${part.layer}.${(own ?? LAYER_ROLES[part.role as LayerRole]).huggingFace}`
  }
  const isPacked = (part: Part): boolean => packing !== undefined && LINEAR.has(part.role) && folder.tensors.get(nameOf(part))?.type === 'U8'
  const parts = partsOf(config)
  checkParts(parts, {
    thing: folder.name,
    tensors: folder.tensors,
    nameOf,
    storedShape: (part) => (isPacked(part) ? [Math.ceil(part.shape[0] / 4), part.shape[1]] : part.shape),
    mayIgnore: (name) => /\.rotary_emb\.inv_freq$/.test(name) || (config.tied && name === MODEL_ROLES.head.huggingFace) || (packing !== undefined && name.endsWith('.weight_scale')),
  })

  const floats = async (part: Part): Promise<ModelMatrix> => {
    const name = nameOf(part)
    const type = folder.tensors.get(name)?.type
    if (type === 'F32' || type === 'F16' || type === 'BF16') {
      const host = await folder.host(name)
      if (hasDType(host, 'float32') || hasDType(host, 'float16') || hasDType(host, 'bfloat16')) return host
    }
    return folder.floats(name)
  }
  const matrix = async (part: Part): Promise<ModelMatrix> => {
    const name = nameOf(part)
    const m = isPacked(part) ? unpackTernary(await folder.bytes(name), [part.shape[0], part.shape[1]], await ternaryScale(folder, name, packing), name) : await floats(part)
    expectFiniteMatrix(m, name)
    return m
  }
  return {
    name: folder.name,
    format: 'huggingface',
    config,
    bytes: parts.reduce((sum, part) => sum + (folder.tensors.get(nameOf(part))?.length ?? 0), 0),
    notes: [],
    typeOf: (part) => (isPacked(part) ? 'ternary (BitNet)' : (folder.tensors.get(nameOf(part))?.type ?? '')),
    matrix,
    async rows(part, from, count) {
      const columns = part.shape[1]
      const values = isPacked(part) ? matrixFloats(await matrix(part)).data.subarray(from * columns, (from + count) * columns) : (await folder.floats(nameOf(part), { from, count })).data
      expectFinite(values, nameOf(part))
      return values
    },
    async vector(part) {
      const { data }: HostTensor<'float32'> = await folder.floats(nameOf(part))
      expectFinite(data, nameOf(part))
      return architecture.storedGain === 'gain - 1' && part.role.endsWith('norm') ? data.map((v) => 1 + v) : data
    },
    fingerprint: () => JSON.stringify([folder.config, [...folder.tensors.values()].map(({ name, type, shape }) => [name, type, shape])]),
    close: () => folder.close(),
  }
}

function readPacking(folder: HuggingFaceFolder): Packing {
  const thing = `${folder.name}: config.json`
  const quantization = new Fields(folder.config, thing).fields('quantization_config')
  if (quantization === undefined) return undefined
  const method = quantization.text('quant_method') ?? '(none)'
  if (method !== 'bitnet') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `weights packed by '${method.slice(0, 80)}'`, expected: 'float weights, or bitnet', fix: 'open the float model with weights: int4({ group: 32 }), or a GGUF file' })
  if ((quantization.text('quantization_mode') ?? 'offline') !== 'offline') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: "quantization_mode 'online'", expected: "'offline': weights that are ternary in the file", fix: 'open the folder with the packed weights' })
  // transformers' AutoBitLinear keeps the scale itself, BitLinear its reciprocal.
  return { scale: quantization.text('linear_class') === 'autobitlinear' ? 'multiplies' : 'divides' }
}

async function ternaryScale(folder: HuggingFaceFolder, name: string, packing: Packing): Promise<number> {
  const stored = `${name}_scale`
  const found = folder.tensors.get(stored)
  if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: folder.name, found: `no tensor '${stored}'`, expected: 'the scale of a packed matrix' })
  const { data } = await folder.floats(stored)
  const scale = packing?.scale === 'multiplies' ? data[0] : 1 / data[0]
  if (data.length !== 1 || !Number.isFinite(scale)) throw new LowbitError('LOWBIT_DATA', { thing: `${folder.name}: tensor '${stored}'`, found: data.length === 1 ? String(data[0]) : `${data.length} values`, expected: 'one finite scale' })
  return scale
}
