import { hasDType, LowbitError, type GroupedTensor, type RowForm } from '@lowbit/core'
import type { BlockForm, BlockTensor, GgufFile } from '@lowbit/formats/gguf'
import { findArchitecture, LAYER_ROLES, MODEL_ROLES, type LayerRole, type ModelRole, type RoleNames } from '../architecture/index.js'
import { ggufConfig } from '../config/gguf.js'
import { architectureOf, partsOf, type Part } from '../forward/parts.js'
import { metadataText } from '@lowbit/formats/gguf'
import { checkParts } from './check-parts.js'
import { FLOAT_TYPES, floatRows } from './float-rows.js'
import { rowsOfPiece } from './matrix-pieces.js'
import { byName } from './by-name.js'
import { expectFinite, expectFiniteMatrix, neighboursToHalves, reorderRows, type ModelMatrix } from './matrix.js'
import type { WeightSource } from './weight-source.js'

const ROPE_FACTORS = 'rope_freqs.weight'
const PLAIN: ReadonlySet<string> = new Set(['F32', 'F16', 'BF16', 'F64'])

/**
 * The weights of a GGUF file, or of one that is read in its words; blocks keep their exact meaning.
 * @throws LOWBIT_UNSUPPORTED, LOWBIT_FORMAT, LOWBIT_NOT_FOUND, LOWBIT_SHAPE if metadata and tensors do not make a model.
 */
export async function ggufWeights(file: GgufFile, format: WeightSource['format'] = 'gguf'): Promise<WeightSource> {
  const { tensors, metadata, name: thing } = file
  const type = metadataText(metadata, 'general.architecture') ?? ''
  // Before anything is looked for: an unknown model has other tensors, and should be named.
  findArchitecture('gguf', type, thing)
  const embed = tensors.get(MODEL_ROLES.embed.gguf)
  if (embed === undefined || embed.shape.length !== 2) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `no matrix '${MODEL_ROLES.embed.gguf}'`, expected: 'a language model' })
  const hasBias = (role: 'q.bias' | 'o.bias' | 'gate.bias'): boolean => tensors.has(`blk.0.${LAYER_ROLES[role].gguf}`)
  const ropeFactors = tensors.has(ROPE_FACTORS) ? (await file.floats(ROPE_FACTORS)).data : undefined
  const config = ggufConfig(metadata, {
    vocabulary: embed.shape[0],
    tied: !tensors.has(MODEL_ROLES.head.gguf),
    biases: { qkv: hasBias('q.bias'), output: hasBias('o.bias'), mlp: hasBias('gate.bias') },
    ...(ropeFactors === undefined ? {} : { ropeFactors }),
  }, thing)
  const architecture = architectureOf(config)
  const nameOf = (part: Part): string => {
    const own: RoleNames | undefined = architecture.names?.[part.role]
    if (part.layer === undefined) return (own ?? MODEL_ROLES[part.role as ModelRole]).gguf
    return `blk.${part.layer}.${(own ?? LAYER_ROLES[part.role as LayerRole]).gguf}`
  }
  const parts = partsOf(config)
  checkParts(parts, { thing, tensors, nameOf, mayIgnore: (name) => name === ROPE_FACTORS })

  /** Rows of q and k (weights and biases) in the order of the model. */
  const source = neighboursToHalves(config.headSize)
  const isTurned = (part: Part): boolean => architecture.ggufRotatesNeighbours && /^[qk](\.bias)?$/.test(part.role)

  return {
    name: thing,
    format,
    config,
    bytes: parts.reduce((sum, part) => sum + (tensors.get(nameOf(part))?.length ?? 0), 0),
    notes: [],
    typeOf: (part) => tensors.get(nameOf(part))?.type ?? '',
    async matrix(part) {
      const name = nameOf(part)
      const m = await readMatrix(file, name)
      expectFiniteMatrix(m, name)
      return isTurned(part) ? reorderRows(m, source) : m
    },
    pieces(part) {
      const name = nameOf(part)
      const columns = part.shape[1]
      const turn = isTurned(part)
      const rows = rowsOfPiece(columns, turn ? config.headSize : 1)
      const blocks = file.blockForm(name)
      const dtype = FLOAT_TYPES[file.tensors.get(name)?.type ?? '']
      if (blocks === undefined && dtype === undefined) return undefined
      return {
        form: dtype === undefined && blocks !== undefined ? groupedForm(blocks, name) : { dtype: dtype ?? 'float32' },
        async *read() {
          for await (const piece of dtype === undefined ? blockRows(file, name, rows) : floatRows(file, name, rows, dtype)) {
            expectFiniteMatrix(piece, name)
            yield turn ? reorderRows(piece, source) : piece
          }
        },
      }
    },
    async rows(part, from, count) {
      const name = nameOf(part)
      if (!isTurned(part)) {
        const { data } = await file.floats(name, { from, count })
        expectFinite(data, name)
        return data
      }
      const { headSize } = config
      const columns = part.shape[1]
      const first = Math.floor(from / headSize) * headSize
      const last = Math.ceil((from + count) / headSize) * headSize
      const { data } = await file.floats(name, { from: first, count: last - first })
      expectFinite(data, name)
      const turned = reorderRows({ dtype: 'float32', shape: [last - first, columns], data }, source)
      return ('data' in turned && hasDType(turned, 'float32') ? turned.data : data).subarray((from - first) * columns, (from - first + count) * columns)
    },
    async vector(part) {
      const name = nameOf(part)
      const { data } = await file.floats(name)
      expectFinite(data, name)
      return isTurned(part) ? data.map((_, i) => data[source(i)]) : data
    },
    stored: (part) => {
      const name = nameOf(part)
      const type = tensors.get(name)?.type
      return format !== 'gguf' || type === undefined ? undefined : { type, bytes: () => file.bytes(name) }
    },
    fingerprint: () => JSON.stringify([[...metadata].filter(([key]) => key.startsWith('general.') || key.startsWith(type)).map(([key, { value }]) => [key, String(value)]), byName(tensors).map(({ name, type: stored, shape }) => [name, stored, shape])]),
    close: () => file.close(),
  }
}

async function readMatrix(file: GgufFile, name: string): Promise<ModelMatrix> {
  const type = file.tensors.get(name)?.type ?? ''
  if (!PLAIN.has(type)) return groupedFromBlocks(await file.blocks(name), name)
  const host = type === 'F64' ? await file.floats(name) : await file.host(name)
  if (hasDType(host, 'float32') || hasDType(host, 'float16') || hasDType(host, 'bfloat16')) return host
  throw new LowbitError('LOWBIT_DTYPE', { thing: `tensor '${name}'`, found: host.dtype, expected: 'floats or blocks of codes' })
}

/**
 * Blocks of ggml as a grouped tensor, nothing rounded. Levels that are halves (E2M1) double, and their scales halve.
 * @throws LOWBIT_UNSUPPORTED for levels that no whole numbers stand for
 */
export function groupedFromBlocks(blocks: BlockTensor, thing: string): GroupedTensor {
  const { shape, group, codes, table, scales, minima } = blocks
  const columns = shape[shape.length - 1]
  const base = { shape: [codes.length / columns, columns] as const, codes, group, ...(minima === undefined ? {} : { minima }) }
  if (table === undefined) return { ...base, scales }
  const { levels, factor } = wholeLevels(table, thing)
  return { ...base, scales: factor === 1 ? scales : scales.map((s) => s / factor), levels }
}

/** Levels as whole numbers, halves doubled. @throws LOWBIT_UNSUPPORTED */
function wholeLevels(table: ArrayLike<number>, thing: string): { readonly levels: Int8Array; readonly factor: number } {
  for (const factor of [1, 2]) {
    const levels = Int8Array.from(table, (v) => v * factor)
    if (levels.every((level, i) => level === table[i] * factor)) return { levels, factor }
  }
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `tensor '${thing}'`, found: 'levels that are no whole numbers', expected: 'whole numbers, or halves' })
}

function groupedForm({ group, range, table, minima }: BlockForm, thing: string): RowForm {
  if (table === undefined) return { group, range, minima }
  const { levels } = wholeLevels(table, thing)
  return { group, range: [Math.min(...levels), Math.max(...levels)], minima }
}

async function* blockRows(file: GgufFile, name: string, rows: number): AsyncGenerator<GroupedTensor> {
  for await (const blocks of file.blockPieces(name, rows)) yield groupedFromBlocks(blocks, name)
}
