import { bytesPerElement, elementCount, LowbitError, type HostTensor } from '@lowbit/core'
import type { ByteSource } from '../bytes/byte-source.js'
import type { FileSet } from '../bytes/file-set.js'
import { rowRange, rowsShape, type Rows } from '../bytes/tensor-source.js'
import { hostToFloat32 } from '../bytes/to-float32.js'
import { viewBytes } from '../bytes/views.js'
import type { BlockTensor } from './block-tensor.js'
import type { BlockForm, GgufFile, GgufTensor } from './gguf-file.js'
import { GGUF_LIMITS } from './limits.js'
import { metadataNumber, type GgufMetadata } from './metadata.js'
import { BlockReader } from './block-reader.js'
import { dequantizeBlocks, readBlocks } from './read-blocks.js'
import { readGgufHeader, type GgufHeader } from './read-header.js'
import { swapBytes, swapHalves } from './swap.js'
import type { GgufType } from './types.js'

interface Part {
  readonly source: ByteSource
  readonly header: GgufHeader
  /** Place among the parts of a split model. */
  readonly number: number
  /** 1 for a model in one file. */
  readonly count: number
}

async function readPart(source: ByteSource): Promise<Part> {
  const header = await readGgufHeader(source)
  const count = metadataNumber(header.metadata, 'split.count') ?? 1
  const number = metadataNumber(header.metadata, 'split.no') ?? 0
  if (!Number.isInteger(count) || count < 0 || count > GGUF_LIMITS.parts || !Number.isInteger(number) || number < 0 || number >= Math.max(1, count)) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: source.name, found: `part ${number} of ${count}`, expected: `a part of at most ${GGUF_LIMITS.parts}` })
  }
  return { source, header, number, count: Math.max(1, count) }
}

/**
 * Opens a GGUF model: the headers are read and checked whole, tensors are read when asked for. Closing the model closes its sources.
 * @param sources One file, or all parts of a split model in any order.
 * @throws LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT, LOWBIT_UNSUPPORTED, LOWBIT_FILE; the sources are closed then.
 */
export async function openGguf(sources: ByteSource | readonly ByteSource[]): Promise<GgufFile> {
  const list = Array.isArray(sources) ? (sources as readonly ByteSource[]) : [sources as ByteSource]
  return assembleOrClose(list, async () => {
    const parts: Part[] = []
    for (const source of list) parts.push(await readPart(source))
    return parts
  })
}

/** The model of some parts; if they make none, all sources are closed. */
async function assembleOrClose(sources: readonly ByteSource[], read: () => Promise<readonly Part[]>): Promise<GgufFile> {
  try {
    return assemble([...(await read())].sort((a, b) => a.number - b.number))
  } catch (error) {
    await Promise.all(sources.map((source) => source.close()))
    throw error
  }
}

/**
 * Opens a GGUF model by the name of its file, or of the first of its parts (`model-00001-of-00003.gguf`): the others are found beside it.
 * @throws As {@link openGguf}; LOWBIT_NOT_FOUND for a part that is not there.
 */
export async function openGgufIn(files: FileSet, name: string): Promise<GgufFile> {
  const first = await files.open(name)
  const opened: ByteSource[] = [first]
  return assembleOrClose(opened, async () => {
    const parts = [await readPart(first)]
    const count = parts[0]?.count ?? 1
    if (count > 1) {
      const pattern = /^(.*-)(\d{5})-of-(\d{5})\.gguf$/.exec(name)
      if (pattern === null || Number(pattern[3]) !== count) {
        throw new LowbitError('LOWBIT_FORMAT', { thing: name, found: `a part of ${count} under this name`, expected: `NAME-00001-of-${String(count).padStart(5, '0')}.gguf`, fix: 'give the parts the names they were made with' })
      }
      for (let i = 1; i <= count; i++) {
        const part = `${pattern[1]}${String(i).padStart(5, '0')}-of-${pattern[3]}.gguf`
        if (part === name) continue
        const source = await files.open(part)
        opened.push(source)
        parts.push(await readPart(source))
      }
    }
    return parts
  })
}

function assemble(parts: readonly Part[]): GgufFile {
  const [first] = parts
  if (first === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'openGguf', found: 'no files', expected: 'one or more' })
  checkParts(parts, first)
  const tensors = new Map<string, GgufTensor>()
  const types = new Map<string, GgufType>()
  for (const [part, { header, source }] of parts.entries()) {
    for (const { name, type, shape, offset, length } of header.tensors) {
      if (tensors.has(name)) throw new LowbitError('LOWBIT_FORMAT', { thing: `${source.name}: tensor '${name}'`, found: 'the same name in two parts', expected: 'each name once' })
      tensors.set(name, { name, type: type.name, typeId: type.id, shape, offset, length, part })
      types.set(name, type)
    }
  }
  const total = metadataNumber(first.header.metadata, 'split.tensors.count')
  if (first.count > 1 && total !== undefined && total !== tensors.size) throw new LowbitError('LOWBIT_FORMAT', { thing: first.source.name, found: `${tensors.size} tensors in ${parts.length} parts`, expected: `${total}` })
  return new OpenGguf(parts, tensors, types, withoutSplit(first.header.metadata))
}

function checkParts(parts: readonly Part[], first: Part): void {
  parts.forEach((part, i) => {
    if (part.count !== parts.length || part.number !== i) {
      throw new LowbitError('LOWBIT_FORMAT', { thing: part.source.name, found: `part ${part.number + 1} of ${part.count} among ${parts.length} files`, expected: `all ${first.count} parts, each once` })
    }
    if (part.header.bigEndian !== first.header.bigEndian) throw new LowbitError('LOWBIT_FORMAT', { thing: part.source.name, found: 'another byte order than the first part' })
  })
}

function withoutSplit(metadata: GgufMetadata): GgufMetadata {
  return new Map([...metadata].filter(([key]) => !key.startsWith('split.')))
}

class OpenGguf implements GgufFile {
  readonly name: string
  readonly version: number
  readonly bigEndian: boolean
  readonly metadata: GgufMetadata
  readonly tensors: ReadonlyMap<string, GgufTensor>
  readonly #types: ReadonlyMap<string, GgufType>
  readonly #parts: readonly Part[]
  #reader: BlockReader | undefined

  constructor(parts: readonly Part[], tensors: ReadonlyMap<string, GgufTensor>, types: ReadonlyMap<string, GgufType>, metadata: GgufMetadata) {
    const { source, header } = parts[0] as Part
    this.name = source.name
    this.version = header.version
    this.bigEndian = header.bigEndian
    this.metadata = metadata
    this.tensors = tensors
    this.#types = types
    this.#parts = parts
  }

  #find(name: string): { readonly tensor: GgufTensor; readonly type: GgufType; readonly thing: string } {
    const tensor = this.tensors.get(name)
    const type = this.#types.get(name)
    if (tensor === undefined || type === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: this.name, found: `no tensor '${name}'`, expected: `one of ${[...this.tensors.keys()].slice(0, 20).join(', ')}` })
    return { tensor, type, thing: `${this.name}: tensor '${name}'` }
  }

  async bytes(name: string, rows?: Rows): Promise<Uint8Array<ArrayBuffer>> {
    const { tensor, type, thing } = this.#find(name)
    const { offset, length } = rowRange(tensor, rows, thing)
    const source = (this.#parts[tensor.part] as Part).source
    const bytes = await source.read(offset, length)
    return this.bigEndian ? toLittleEndian(new Uint8Array(bytes), type, thing) : bytes
  }

  async host(name: string): Promise<HostTensor> {
    const { tensor, type, thing } = this.#find(name)
    if (!('plain' in type)) throw new LowbitError('LOWBIT_DTYPE', { thing, found: `blocks of type ${type.name}`, expected: 'a plain type', fix: 'read its floats or its blocks' })
    return { dtype: type.plain, shape: tensor.shape, data: viewBytes(await this.bytes(name), type.plain, elementCount(tensor.shape, thing)) }
  }

  async floats(name: string, rows?: Rows): Promise<HostTensor<'float32'>> {
    const { tensor, type, thing } = this.#find(name)
    if ('unread' in type) throw unread(type, thing)
    const bytes = await this.bytes(name, rows)
    const shape = rowsShape(tensor.shape, rows)
    if ('blocks' in type) return { dtype: 'float32', shape, data: dequantizeBlocks(type.blocks, bytes) }
    return { dtype: 'float32', shape, data: hostToFloat32({ dtype: type.plain, shape, data: viewBytes(bytes, type.plain, bytes.length / bytesPerElement(type.plain)) }) }
  }

  async blocks(name: string, rows?: Rows) {
    const { tensor, type, thing } = this.#find(name)
    if ('unread' in type) throw unread(type, thing)
    if (!('blocks' in type)) throw new LowbitError('LOWBIT_DTYPE', { thing, found: `plain values of type ${type.name}`, expected: 'a type of blocks', fix: 'read its floats' })
    return readBlocks(type.blocks, rowsShape(tensor.shape, rows), await this.bytes(name, rows))
  }

  async *blockPieces(name: string, rows: number): AsyncGenerator<BlockTensor> {
    const { tensor, type, thing } = this.#find(name)
    if ('unread' in type) throw unread(type, thing)
    if (!('blocks' in type) || tensor.shape.length !== 2) throw new LowbitError('LOWBIT_DTYPE', { thing, found: `[${tensor.shape.join(', ')}] of type ${type.name}`, expected: 'a matrix of blocks', fix: 'read its floats' })
    const [all = 0, columns = 0] = tensor.shape
    const each = Math.min(rows, all)
    const { source } = this.#parts[tensor.part] as Part
    // one room for all tensors, while one is read at a time: memory that comes and goes is what collecting garbage would spend its time on
    const reader = this.#reader ?? new BlockReader()
    this.#reader = undefined
    try {
      for (let from = 0; from < all; from += each) {
        const count = Math.min(each, all - from)
        const { offset, length } = rowRange(tensor, { from, count }, thing)
        const bytes = await source.read(offset, length, reader.room(length))
        yield reader.read(type.blocks, [count, columns], this.bigEndian ? toLittleEndian(new Uint8Array(bytes), type, thing) : bytes)
      }
    } finally {
      this.#reader = reader
    }
  }

  blockForm(name: string): BlockForm | undefined {
    const { type } = this.#find(name)
    if (!('blocks' in type)) return undefined
    const { group, min, max, minima, table } = type.blocks
    return { group, range: [min, max], minima, ...(table === undefined ? {} : { table }) }
  }

  async close(): Promise<void> {
    this.#reader = undefined
    await Promise.all(this.#parts.map(({ source }) => source.close()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

const unread = (type: GgufType, thing: string): LowbitError =>
  new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `type ${type.name}, whose codebook is not part of lowbit`, expected: 'a plain type, Q*, IQ4_*, TQ*, MXFP4 or NVFP4', fix: 'use a file of another quantization of this model' })

function toLittleEndian(bytes: Uint8Array<ArrayBuffer>, type: GgufType, thing: string): Uint8Array<ArrayBuffer> {
  if ('plain' in type) swapBytes(bytes, type.bytes)
  else if ('blocks' in type && type.blocks.halves !== undefined) swapHalves(bytes, type.bytes, type.blocks.halves)
  else throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `blocks of type ${type.name} in a big-endian file`, expected: 'a type whose byte order is defined', fix: 'use the little-endian file' })
  return bytes
}
