import { realpath } from 'node:fs/promises'
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
import { openRangeFile, readAll, type RangeFile } from './read-range.js'
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
  /** @throws LOWBIT_FILE if the model or a data file was changed or replaced since it was opened */
  checkUnchanged(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens a model by path. The model file itself is read whole (it cannot be longer than 2 GiB); external data stays on the disk.
 * Every external range is checked against its file, and every file against the model's folder, before this returns.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT.
 */
export async function openOnnxFile(path: string, options: OpenOnnxFileOptions = {}): Promise<OnnxFile> {
  const main = await openRangeFile(path)
  const files = new Map<string, { readonly path: string; readonly file: RangeFile }>()
  const close = async (): Promise<void> => {
    await Promise.all([main, ...[...files.values()].map(({ file }) => file)].map((file) => file.close()))
    files.clear()
  }
  try {
    const bytes = await readAll(main, MAX_PROTOBUF_BYTES)
    const model = readOnnx(bytes, { name: path, ...(options.limits === undefined ? {} : { limits: options.limits }) })
    return await withExternal(path, model, bytes.length, main, files, close, options)
  } catch (error) {
    await close()
    throw error
  }
}

type DataFiles = Map<string, { readonly path: string; readonly file: RangeFile }>

async function withExternal(path: string, model: OnnxModel, bytes: number, main: RangeFile, files: DataFiles, close: () => Promise<void>, options: OpenOnnxFileOptions): Promise<OnnxFile> {
  const fileOf = async (location: string): Promise<RangeFile> => {
    let found = files.get(location)
    if (found === undefined) {
      const real = await findData(path, location, options.trustedFolders)
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

  let size = bytes
  for (const t of tensorsOf(model)) if (isExternal(t)) size += (await locate(t)).length
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
    async checkUnchanged() {
      for (const file of [main, ...[...files.values()].map((found) => found.file)]) await file.checkUnchanged()
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Data stands beside the model; where the model is a link, beside the link or where it leads. */
async function findData(path: string, location: string, trusted?: readonly string[]): Promise<string> {
  try {
    return await safePath(dirname(path), location, trusted)
  } catch (error) {
    const real = dirname(await realpath(path).catch(() => path))
    return real === dirname(path) ? Promise.reject(error) : safePath(real, location, trusted).catch(() => Promise.reject(error))
  }
}
