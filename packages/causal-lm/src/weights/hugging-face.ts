import { hasDType, LowbitError, type HostTensor } from '@lowbit/core'
import { checkpointFormat, isPackedWeight, readPackedWeight, type CheckpointFormat } from '@lowbit/formats/checkpoints'
import type { HuggingFaceFolder } from '@lowbit/formats/huggingface'
import { LAYER_ROLES, MODEL_ROLES, type LayerRole, type ModelRole, type RoleNames } from '../architecture/index.js'
import { Fields } from '../config/fields.js'
import { huggingFaceConfig } from '../config/hugging-face.js'
import { architectureOf, partsOf, type Part } from '../forward/parts.js'
import { checkParts } from './check-parts.js'
import { expectFinite, expectFiniteMatrix, matrixFloats, type ModelMatrix } from './matrix.js'
import { packedMatrix } from './packed-matrix.js'
import { byName } from './by-name.js'
import { FLOAT_TYPES, floatRows } from './float-rows.js'
import { rowsOfPiece } from './matrix-pieces.js'
import type { WeightSource } from './weight-source.js'

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
  /** What the tensors of a packed layer have in common: the name without `.weight`. */
  const layerOf = (part: Part): string => nameOf(part).replace(/\.weight$/, '')
  const isPacked = (part: Part): boolean => packing !== undefined && part.kind === 'matrix' && isPackedWeight(folder, layerOf(part), packing)
  const parts = partsOf(config)
  const packedLayers = new Set(parts.filter(isPacked).map(layerOf))
  checkParts(parts.filter((part) => !isPacked(part)), {
    thing: folder.name,
    tensors: folder.tensors,
    nameOf,
    mayIgnore: (name) => /\.rotary_emb\.inv_freq$/.test(name) || (config.tied && name === MODEL_ROLES.head.huggingFace) || packedLayers.has(name.slice(0, name.lastIndexOf('.'))) || packedLayers.has(name.replace(/\.weight\..*$/, '')),
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
    const m = packing !== undefined && isPacked(part) ? packedMatrix(await readPackedWeight(folder, layerOf(part), packing)) : await floats(part)
    if (m.shape.join() !== part.shape.join()) throw new LowbitError('LOWBIT_SHAPE', { thing: `${folder.name}: ${layerOf(part)}`, found: `a packed matrix [${m.shape.join(', ')}]`, expected: `[${part.shape.join(', ')}], as the configuration has it` })
    expectFiniteMatrix(m, name)
    return m
  }
  return {
    name: folder.name,
    format: 'huggingface',
    config,
    bytes: [...folder.tensors.values()].reduce((sum, { length }) => sum + length, 0),
    notes: [],
    typeOf: (part) => (isPacked(part) ? describePacking(packing) : (folder.tensors.get(nameOf(part))?.type ?? '')),
    matrix,
    pieces(part) {
      const type = folder.tensors.get(nameOf(part))?.type
      const dtype = type === undefined || isPacked(part) ? undefined : FLOAT_TYPES[type]
      if (dtype === undefined) return undefined
      return {
        form: { dtype },
        async *read() {
          for await (const piece of floatRows(folder, nameOf(part), rowsOfPiece(part.shape[1]), dtype)) {
            expectFiniteMatrix(piece, nameOf(part))
            yield piece
          }
        },
      }
    },
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
    fingerprint: () => JSON.stringify([folder.config, byName(folder.tensors).map(({ name, type, shape }) => [name, type, shape])]),
    close: () => folder.close(),
  }
}

function describePacking(packing: CheckpointFormat | undefined): string {
  if (packing === undefined) return ''
  return 'bits' in packing ? `${packing.method} ${packing.bits} bits${'actOrder' in packing && packing.actOrder ? ', act-order' : ''}` : packing.method
}

/** @throws LOWBIT_UNSUPPORTED for a packing that is not read, by its name. */
function readPacking(folder: HuggingFaceFolder): CheckpointFormat | undefined {
  const thing = `${folder.name}: config.json`
  const quantization = new Fields(folder.config, thing).fields('quantization_config')
  // Weights that are rounded while the model runs lie in the file as floats: read as such they would be another model.
  if (quantization?.text('quant_method') === 'bitnet' && (quantization.text('quantization_mode') ?? 'offline') !== 'offline') {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: "quantization_mode 'online'", expected: "'offline': weights that are ternary in the file", fix: 'open the folder with the packed weights' })
  }
  return checkpointFormat(folder.config)
}
