import type { HostTensor } from '@lowbit/core'
import { LowbitError } from '@lowbit/core'
import type { ByteSource } from '../bytes/byte-source.js'
import { checkRange, externalRange } from './external.js'
import { MAX_PROTOBUF_BYTES, type OnnxLimits } from './limits.js'
import type { TensorProto } from './proto.js'
import { readOnnx, type OnnxModel } from './read.js'
import { isExternal, rawToHost, tensorShape, tensorToHost, tensorType } from './tensor.js'
import { tensorsOf } from './walk.js'

/** Bytes of an external tensor that are in memory at a time, where a source has no pieces of its own. */
const PIECE = 8 << 20

/** A model whose external data is read when asked for, wherever it lies. One tensor in memory at a time; `close` or `await using` it. */
export interface OnnxSource extends AsyncDisposable {
  readonly name: string
  readonly model: OnnxModel
  /** Bytes of the model file and of the external data it refers to. */
  readonly size: number
  /** Any tensor of the model, wherever its data stands. As {@link tensorToHost}. */
  readTensor(t: TensorProto): Promise<HostTensor>
  /** The bytes of an external tensor in pieces; a piece is valid until the next one is asked for. */
  externalPieces(t: TensorProto): AsyncGenerator<Uint8Array<ArrayBuffer>>
  close(): Promise<void>
}

/** Opens a data file by the name that stands in the model. */
export type OpenData = (location: string) => Promise<ByteSource>

/**
 * Opens a model from a source of bytes. The model file itself is read whole (it cannot be longer than 2 GiB); external data stays
 * where it is. Every external range is checked against its file before this returns. The sources are closed with the model.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT.
 */
export async function openOnnxSource(main: ByteSource, openData: OpenData, options: { readonly limits?: Partial<OnnxLimits> } = {}): Promise<OnnxSource> {
  const files = new Map<string, ByteSource>()
  const close = async (): Promise<void> => {
    await Promise.all([main, ...files.values()].map((file) => file.close()))
    files.clear()
  }
  try {
    if (main.size > MAX_PROTOBUF_BYTES) throw new LowbitError('LOWBIT_LIMIT', { thing: main.name, found: `${main.size} bytes`, expected: `at most ${MAX_PROTOBUF_BYTES}` })
    const model = readOnnx(await main.read(0, main.size), { name: main.name, ...options })
    const locate = async (t: TensorProto): Promise<{ file: ByteSource; offset: number; length: number }> => {
      const range = externalRange(t)
      let file = files.get(range.location)
      if (file === undefined) files.set(range.location, (file = await openData(range.location)))
      checkRange(range, file.size, t.name)
      return { file, offset: range.offset, length: range.length }
    }
    let size = main.size
    for (const t of tensorsOf(model)) if (isExternal(t)) size += (await locate(t)).length
    return {
      name: main.name,
      model,
      size,
      async readTensor(t) {
        if (!isExternal(t)) return tensorToHost(t)
        const { file, offset, length } = await locate(t)
        return rawToHost(await file.read(offset, length), tensorType(t), tensorShape(t), `tensor '${t.name}'`)
      },
      async *externalPieces(t) {
        const { file, offset, length } = await locate(t)
        if (file.pieces !== undefined) yield* file.pieces(offset, length)
        else for (let at = 0; at < length; at += PIECE) yield await file.read(offset + at, Math.min(PIECE, length - at))
      },
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
