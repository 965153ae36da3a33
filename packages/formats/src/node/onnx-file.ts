import { dirname } from 'node:path'
import type { HostTensor } from '@lowbit/core'
import {
  checkRange,
  externalRange,
  isExternal,
  MAX_PROTOBUF_BYTES,
  rawToHost,
  readOnnx,
  tensorShape,
  tensorsOf,
  tensorToHost,
  tensorType,
  type OnnxLimits,
  type OnnxModel,
  type TensorProto,
} from '../onnx/index.js'
import { openRangeFile, readWholeFile, type RangeFile } from './read-range.js'
import { safePath } from './safe-path.js'

export interface OpenOnnxFileOptions {
  readonly limits?: Partial<OnnxLimits>
  /** Folders, beside the model's own, that links to external data may lead to. */
  readonly trustedFolders?: readonly string[]
}

/** A model file whose external data is read when asked for. One tensor in memory at a time; `close` or `await using` it. */
export interface OnnxFile extends AsyncDisposable {
  readonly path: string
  readonly model: OnnxModel
  /** Bytes of the model file and of the external data it refers to. */
  readonly size: number
  /** Any tensor of the model, wherever its data stands. As {@link tensorToHost}. */
  readTensor(t: TensorProto): Promise<HostTensor>
  /** The bytes of an external tensor in pieces; a piece is valid until the next one is asked for. */
  externalPieces(t: TensorProto): AsyncGenerator<Uint8Array<ArrayBuffer>>
  /** External data files by the name that stands in the model. */
  externalFiles(): ReadonlyMap<string, string>
  close(): Promise<void>
}

/**
 * Opens a model by path. The model file itself is read whole (it cannot be longer than 2 GiB); external data stays on the disk.
 * Every external range is checked against its file, and every file against the model's folder, before this returns.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT.
 */
export async function openOnnxFile(path: string, options: OpenOnnxFileOptions = {}): Promise<OnnxFile> {
  const bytes = await readWholeFile(path, MAX_PROTOBUF_BYTES)
  const model = readOnnx(bytes, { name: path, ...(options.limits === undefined ? {} : { limits: options.limits }) })
  const files = new Map<string, { readonly path: string; readonly file: RangeFile }>()
  const close = async (): Promise<void> => {
    await Promise.all([...files.values()].map(({ file }) => file.close()))
    files.clear()
  }
  const fileOf = async (location: string): Promise<RangeFile> => {
    let found = files.get(location)
    if (found === undefined) {
      const real = await safePath(dirname(path), location, options.trustedFolders)
      found = { path: real, file: await openRangeFile(real) }
      files.set(location, found)
    }
    return found.file
  }
  const locate = async (t: TensorProto): Promise<{ file: RangeFile; offset: number; length: number }> => {
    const range = externalRange(t)
    const file = await fileOf(range.location)
    checkRange(range, file.size, t.name)
    return { file, offset: range.offset, length: range.length }
  }

  let size = bytes.length
  try {
    for (const t of tensorsOf(model)) if (isExternal(t)) size += (await locate(t)).length
  } catch (error) {
    await close()
    throw error
  }
  return {
    path,
    model,
    size,
    async readTensor(t) {
      if (!isExternal(t)) return tensorToHost(t)
      const { file, offset, length } = await locate(t)
      return rawToHost(await file.read(offset, length), tensorType(t), tensorShape(t), `tensor '${t.name}'`)
    },
    async *externalPieces(t) {
      const { file, offset, length } = await locate(t)
      yield* file.pieces(offset, length)
    },
    externalFiles: () => new Map([...files].map(([location, file]) => [location, file.path])),
    close,
    [Symbol.asyncDispose]: close,
  }
}
