import { bytesPerElement, elementCount, LowbitError, type DType, type HostTensor } from '@lowbit/core'
import { Inflate } from 'fflate'
import type { ByteSource } from '../bytes/byte-source.js'
import { MAX_NPY_HEADER, npyHeaderLength, npyLayout, npyTensor, type NpyLayout } from './npy.js'
import { arrayEntries, expectArray, expectSize, MAX_NPZ_BYTES } from './npz.js'
import { findEntry, parseSafetensorsHeader, safetensorsDType, safetensorsHeaderLength, safetensorsToHost } from './safetensors.js'
import { locateZipDirectory, parseZipDirectory, ZIP_TAIL, zipContentOffset, type ZipEntry } from './zip.js'

/** Compressed bytes that are inflated at a time: they become a thousand times as many at most. */
const INFLATE_STEP = 1 << 14

/** What an array is, known from its header. */
export interface ArrayInfo {
  readonly dtype: DType
  readonly shape: readonly number[]
}

/** Arrays in a file of any size, read a few samples at a time. `close` or `await using` it. */
export interface ArrayFile extends AsyncDisposable {
  readonly name: string
  readonly names: readonly string[]
  /** Reads the array's header alone. @throws LOWBIT_NOT_FOUND, and for what is no array */
  info(name: string): Promise<ArrayInfo>
  /** The slices `from` to `to` along the first axis. Compressed arrays are inflated on the way to them: ask in order. */
  rows(name: string, from: number, to: number): Promise<HostTensor>
  /** The whole array. @throws LOWBIT_LIMIT for a compressed one past 2 GiB */
  read(name: string): Promise<HostTensor>
  close(): Promise<void>
}

/** Kinds of files that hold arrays, by their extension. */
export const ARRAY_EXTENSIONS = ['.npz', '.npy', '.safetensors'] as const
export type ArrayExtension = (typeof ARRAY_EXTENSIONS)[number]

/**
 * Opens arrays. Nothing of their content is read yet, and later only what is asked for: an archive with thousands of arrays, or one
 * that would inflate to terabytes, costs its directory.
 * @throws LOWBIT_FORMAT, LOWBIT_LIMIT, LOWBIT_FILE
 */
export async function openArrays(source: ByteSource, kind: ArrayExtension): Promise<ArrayFile> {
  const arrays = kind === '.npy' ? npyArray(source) : kind === '.npz' ? await npzArrays(source) : await safetensorsArrays(source)
  return { name: source.name, ...arrays, close: () => source.close(), [Symbol.asyncDispose]: () => source.close() }
}

type Arrays = Pick<ArrayFile, 'names' | 'info' | 'rows' | 'read'>

/** Bytes that are cheap to read at any place, or only one after the other. */
interface Content {
  readonly size: number
  read(offset: number, length: number): Promise<Uint8Array>
}

function npyArray(source: ByteSource): Arrays {
  const name = source.name.replace(/^.*[\\/]/, '').replace(/\.npy$/i, '')
  const array = new NpyArray(source, source.name)
  const only = new Map([[name, array]])
  return arraysOf(only, source.name)
}

async function npzArrays(source: ByteSource): Promise<Arrays> {
  const tail = await source.read(Math.max(0, source.size - ZIP_TAIL), Math.min(source.size, ZIP_TAIL))
  const { offset, size } = locateZipDirectory(tail, source.size, source.name)
  const entries = arrayEntries(parseZipDirectory(await source.read(offset, size), source.size, source.name), source.name)
  return arraysOf(new Map([...entries].map(([name, entry]) => [name, new NpyArray(new EntryContent(source, entry), `${source.name}:${name}`, () => expectSize(entry, MAX_NPZ_BYTES, source.name))])), source.name)
}

function arraysOf(arrays: ReadonlyMap<string, NpyArray>, thing: string): Arrays {
  const of = (name: string): NpyArray => expectArray(arrays, name, thing)
  return {
    names: [...arrays.keys()],
    info: async (name) => of(name).info(),
    rows: async (name, from, to) => of(name).rows(from, to),
    read: async (name) => of(name).read(),
  }
}

async function safetensorsArrays(source: ByteSource): Promise<Arrays> {
  const thing = source.name
  const length = safetensorsHeaderLength(await source.read(0, Math.min(8, source.size)), source.size, thing)
  const header = parseSafetensorsHeader(await source.read(8, length), source.size, thing)
  const slice = async (name: string, from: number, to: number): Promise<HostTensor> => {
    const entry = findEntry(header, name, thing)
    const [rows = 1, ...rest] = entry.shape
    expectRows(from, to, rows, `${thing}:${name}`)
    const step = rows === 0 ? 0 : entry.length / rows
    return safetensorsToHost({ ...entry, shape: [to - from, ...rest] }, await source.read(entry.offset + from * step, (to - from) * step), `${thing}:${name}`)
  }
  return {
    names: [...header.entries.keys()],
    async info(name) {
      const { type, shape } = findEntry(header, name, thing)
      return { dtype: safetensorsDType(type, `${thing}:${name}`), shape }
    },
    rows: slice,
    async read(name) {
      const entry = findEntry(header, name, thing)
      return safetensorsToHost(entry, await source.read(entry.offset, entry.length), `${thing}:${name}`)
    },
  }
}

function expectRows(from: number, to: number, rows: number, thing: string): void {
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > rows) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `rows ${from} to ${to} asked of ${rows}` })
}

/** One array in numpy's form. */
class NpyArray {
  readonly #content: Content
  readonly #thing: string
  readonly #beforeWhole: () => void
  #layout: Promise<NpyLayout> | undefined

  constructor(content: Content, thing: string, beforeWhole = (): void => {}) {
    this.#content = content
    this.#thing = thing
    this.#beforeWhole = beforeWhole
  }

  async info(): Promise<ArrayInfo> {
    const { dtype, shape } = await this.#open()
    return { dtype, shape }
  }

  async rows(from: number, to: number): Promise<HostTensor> {
    const layout = await this.#open()
    const [rows = 1, ...rest] = layout.shape
    expectRows(from, to, rows, this.#thing)
    // Column by column, a few rows are spread over all of the file.
    if (layout.fortran && layout.shape.length > 1) return sliced(await this.read(), from, to)
    const step = elementCount(rest, this.#thing) * bytesPerElement(layout.dtype)
    const bytes = await this.#content.read(layout.offset + from * step, (to - from) * step)
    return npyTensor(bytes, { ...layout, shape: layout.shape.length === 0 ? [] : [to - from, ...rest] }, this.#thing)
  }

  async read(): Promise<HostTensor> {
    const layout = await this.#open()
    this.#beforeWhole()
    return npyTensor(await this.#content.read(layout.offset, this.#content.size - layout.offset), layout, this.#thing)
  }

  #open(): Promise<NpyLayout> {
    return (this.#layout ??= this.#readLayout())
  }

  async #readLayout(): Promise<NpyLayout> {
    const { size } = this.#content
    const start = await this.#content.read(0, Math.min(12, size))
    const length = Math.min(size, npyHeaderLength(start, this.#thing), MAX_NPY_HEADER + 12)
    const layout = npyLayout(await this.#content.read(0, length), this.#thing)
    const wanted = elementCount(layout.shape, this.#thing) * bytesPerElement(layout.dtype)
    if (size - layout.offset !== wanted) throw new LowbitError('LOWBIT_SHAPE', { thing: this.#thing, found: `${size - layout.offset} bytes for ${layout.dtype} [${layout.shape.join(', ')}]`, expected: `${wanted} bytes` })
    return layout
  }
}

function sliced({ dtype, shape, data }: HostTensor, from: number, to: number): HostTensor {
  const [rows = 1, ...rest] = shape
  const step = rows === 0 ? 0 : data.length / rows
  return { dtype, shape: [to - from, ...rest], data: data.slice(from * step, to * step) }
}

/** A file inside an archive. A deflated one is a stream: reads go on where the last one ended, or begin again. */
class EntryContent implements Content {
  readonly size: number
  readonly #source: ByteSource
  readonly #entry: ZipEntry
  #start: Promise<number> | undefined
  #stream: InflatedStream | undefined
  /** Reads of one stream come one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(source: ByteSource, entry: ZipEntry) {
    this.#source = source
    this.#entry = entry
    this.size = entry.size
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const start = await (this.#start ??= this.#locate())
    if (this.#entry.method === 0) return this.#source.read(start + offset, length)
    const turn = this.#last.then(() => this.#inflate(start, offset, length))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #inflate(start: number, offset: number, length: number): Promise<Uint8Array> {
    if (this.#stream === undefined || this.#stream.position > offset) this.#stream = new InflatedStream(this.#source, start, this.#entry)
    await this.#stream.skip(offset - this.#stream.position)
    const bytes = await this.#stream.take(length)
    if (this.#stream.position >= this.size) this.#stream = undefined
    return bytes
  }

  async #locate(): Promise<number> {
    return zipContentOffset(await this.#source.read(this.#entry.offset, 30), this.#entry, this.#source.size, this.#source.name)
  }
}

class InflatedStream {
  position = 0
  readonly #source: ByteSource
  readonly #entry: ZipEntry
  readonly #end: number
  readonly #inflater: Inflate
  #at: number
  #ready: Uint8Array[] = []
  #made = 0

  constructor(source: ByteSource, start: number, entry: ZipEntry) {
    this.#source = source
    this.#entry = entry
    this.#at = start
    this.#end = start + entry.packed
    this.#inflater = new Inflate((chunk) => {
      this.#made += chunk.length
      if (chunk.length > 0) this.#ready.push(chunk)
    })
  }

  async skip(length: number): Promise<void> {
    await this.#each(length, () => {})
  }

  async take(length: number): Promise<Uint8Array> {
    const out = newBytes(length, this.#source.name)
    let at = 0
    await this.#each(length, (piece) => {
      out.set(piece, at)
      at += piece.length
    })
    return out
  }

  async #each(length: number, use: (piece: Uint8Array) => void): Promise<void> {
    for (let left = length; left > 0; ) {
      const next = this.#ready[0] ?? (await this.#more())
      const piece = next.subarray(0, left)
      use(piece)
      left -= piece.length
      this.position += piece.length
      if (piece.length === next.length) this.#ready.shift()
      else this.#ready[0] = next.subarray(piece.length)
    }
  }

  async #more(): Promise<Uint8Array> {
    const damaged = (cause?: unknown): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing: this.#source.name, found: `'${this.#entry.name.slice(0, -4)}' is damaged`, cause })
    while (this.#ready.length === 0) {
      if (this.#at >= this.#end) throw damaged()
      const length = Math.min(INFLATE_STEP, this.#end - this.#at)
      const piece = await this.#source.read(this.#at, length)
      this.#at += length
      try {
        this.#inflater.push(piece, this.#at >= this.#end)
      } catch (cause) {
        throw damaged(cause)
      }
      if (this.#made > this.#entry.size) throw damaged()
    }
    return this.#ready[0]
  }
}

function newBytes(length: number, thing: string): Uint8Array {
  try {
    return new Uint8Array(length)
  } catch (cause) {
    throw new LowbitError('LOWBIT_LIMIT', { thing, found: `${length} bytes in one buffer`, fix: 'make batches smaller (--batch), or save the data in several files', cause })
  }
}
