import { isLowbitError, Sha256, throwIfAborted, type KernelWeights, type OnProgress, type PackedWeights, type RowForm, type Scheme, type SyncKernelProvider } from '@lowbit/core'
import { partsOf, type Part } from '../forward/parts.js'
import { describeMatrix, isQuantized, matrixFloats, type ModelMatrix, type PieceOfMatrix } from '../weights/matrix.js'
import type { WeightSource } from '../weights/weight-source.js'
import { tableOfLevels } from './nf4-levels.js'
import { quantizePart } from './quantize-part.js'

export interface LoadOptions {
  /** Float matrices become codes while they are read; those that are codes in the file stay as they are. */
  readonly weights?: Scheme
  /** The same for the embedding and the head. Default: int8 in groups of 32 where `weights` are given, else as in the file. */
  readonly embedding?: Scheme | 'float'
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

/** What became of a matrix. */
export interface LoadedMatrix {
  readonly name: string
  readonly shape: readonly number[]
  /** In the file: `Q4_K`, `BF16`. */
  readonly stored: string
  /** In memory. */
  readonly held: string
  readonly bytes: number
  /** Relative squared error of what was changed, `Σ(w − ŵ)² / Σw²`; absent: the meaning of the file, exactly. */
  readonly error?: number
  /** Why it was changed. */
  readonly reason?: string
}

/** The weights of a decoder in memory, by the names of its program. */
export interface LoadedWeights<M> {
  readonly matrices: Readonly<Record<string, M>>
  readonly vectors: Readonly<Record<string, Float32Array>>
  readonly report: readonly LoadedMatrix[]
  /** SHA-256 over structure, gains and the beginning of each matrix. */
  readonly hash: string
}

/** How weights are kept: in a provider's layout, or as they are. */
export interface Keeper<M> {
  /** @returns undefined for what cannot be kept as it is */
  keep(matrix: ModelMatrix): { readonly kept: M; readonly bytes: number } | undefined
  /** A matrix that is read in pieces. Absent: it is read whole. */
  keepPieces?(shape: readonly [number, number], form: RowForm, pieces: AsyncIterable<PieceOfMatrix>): Promise<{ readonly kept: M; readonly bytes: number }>
}

/** Kernels pack each matrix as it comes, by pieces where they can. */
export function kernelKeeper(kernels: SyncKernelProvider): Keeper<PackedWeights> {
  return {
    ...(kernels.packRows === undefined ? {} : {
      async keepPieces(shape, form, pieces) {
        using packer = kernels.packRows?.(shape, form)
        if (packer === undefined) throw new TypeError('packRows went away')
        for await (const piece of pieces) packer.add(piece)
        const kept = packer.finish()
        return { kept, bytes: kept.bytes }
      },
    } satisfies Partial<Keeper<PackedWeights>>),
    keep(matrix) {
      try {
        const weights: KernelWeights = matrix
        const kept = kernels.prepack(weights)
        return { kept, bytes: kept.bytes }
      } catch (error) {
        if (isLowbitError(error, 'LOWBIT_UNSUPPORTED')) return undefined
        throw error
      }
    },
  }
}

/** The interpreter takes matrices of any kind. */
export const plainKeeper: Keeper<ModelMatrix> = {
  keep: (matrix) => ({ kept: matrix, bytes: 'codes' in matrix ? matrix.codes.byteLength + ('scheme' in matrix ? matrix.params.scales : matrix.scales).byteLength : matrix.data.byteLength }),
}

/** Bytes of a matrix that take part in the hash. */
const HASHED = 4096

/**
 * Reads all weights, one matrix in memory at a time beside those that are kept.
 * @throws what the source throws; LOWBIT_LIMIT if memory ends, LOWBIT_ABORTED
 */
export async function loadWeights<M>(source: WeightSource, keeper: Keeper<M>, options: LoadOptions = {}): Promise<LoadedWeights<M>> {
  const parts = partsOf(source.config)
  const matrices: Record<string, M> = {}
  const vectors: Record<string, Float32Array> = {}
  const report: LoadedMatrix[] = []
  const hash = new Sha256().update(source.fingerprint())
  for (const [done, part] of parts.entries()) {
    throwIfAborted(options.signal, source.name)
    options.onProgress?.({ phase: 'open', done, total: parts.length, item: part.name })
    if (part.kind === 'vector') {
      const values = await source.vector(part)
      vectors[part.name] = values
      hash.update(bytesOf(values))
      continue
    }
    const pieces = schemeOf(part, options) === undefined ? source.pieces?.(part) : undefined
    if (pieces !== undefined && keeper.keepPieces !== undefined) {
      const [rows, columns] = part.shape
      let held = ''
      const { kept, bytes } = await keeper.keepPieces([rows, columns], pieces.form, tapped(pieces.read(), (first) => {
        held = describeMatrix(first)
        hash.update(bytesOf('codes' in first ? first.codes : first.data).subarray(0, HASHED))
      }, options.signal, source.name))
      matrices[part.name] = kept
      report.push({ name: part.name, shape: part.shape, stored: source.typeOf(part), held, bytes })
      continue
    }
    const { matrix, error } = await readPart(source, part, options)
    const data = 'codes' in matrix ? matrix.codes : matrix.data
    hash.update(bytesOf(data).subarray(0, HASHED))
    const { kept, bytes, held, change } = keepOrChange(keeper, matrix)
    matrices[part.name] = kept
    const total = change?.error ?? error
    report.push({
      name: part.name, shape: part.shape, stored: source.typeOf(part), held, bytes,
      ...(total === undefined || total === 0 ? {} : { error: total }),
      ...(change === undefined ? (error === undefined ? {} : { reason: 'quantized while loading' }) : { reason: change.reason }),
    })
  }
  options.onProgress?.({ phase: 'open', done: parts.length, total: parts.length })
  return { matrices, vectors, report, hash: hash.hex() }
}

async function readPart(source: WeightSource, part: Part, options: LoadOptions): Promise<{ readonly matrix: ModelMatrix; readonly error?: number }> {
  const scheme = schemeOf(part, options)
  return scheme === undefined ? { matrix: await source.matrix(part) } : quantizePart(source, part, scheme)
}

/** What a float matrix becomes; undefined: it stays. */
function schemeOf(part: Part, options: LoadOptions): Scheme | undefined {
  const scheme = part.role === 'embed' || part.role === 'head' ? (options.embedding ?? (options.weights === undefined ? undefined : EMBEDDING)) : options.weights
  return scheme === 'float' ? undefined : scheme
}

/** Pieces as they come, the first one shown. */
async function* tapped(pieces: AsyncIterable<PieceOfMatrix>, show: (first: PieceOfMatrix) => void, signal: AbortSignal | undefined, name: string): AsyncGenerator<PieceOfMatrix> {
  let isFirst = true
  for await (const piece of pieces) {
    throwIfAborted(signal, name)
    if (isFirst) show(piece)
    isFirst = false
    yield piece
  }
}

/** llama.cpp, too, keeps the table and the head in more bits than the layers. */
const EMBEDDING: Scheme = { dtype: 'int8', granularity: { kind: 'group', axis: 1, size: 32 }, symmetric: true }

interface Kept<M> {
  readonly kept: M
  readonly bytes: number
  readonly held: string
  readonly change?: { readonly error: number; readonly reason: string }
}

function keepOrChange<M>(keeper: Keeper<M>, matrix: ModelMatrix): Kept<M> {
  const first = keeper.keep(matrix)
  if (first !== undefined) return { ...first, held: describeMatrix(matrix) }
  const reason = `the kernels have no ${describeMatrix(matrix)}`
  const levels = 'scheme' in matrix ? tableOfLevels(matrix) : undefined
  if (levels !== undefined) {
    const second = keeper.keep(levels.matrix)
    if (second !== undefined) return { ...second, held: describeMatrix(levels.matrix), change: { error: levels.error, reason } }
  }
  const floats = matrixFloats(matrix)
  const last = keeper.keep(floats)
  if (last === undefined) throw new TypeError('kernels without float32 matrices')
  return { ...last, held: 'float32', change: { error: 0, reason: isQuantized(matrix) ? reason : `${reason} matrices` } }
}

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
