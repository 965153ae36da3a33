import { type HostTensor, LowbitError } from '@lowbit/core'
import { blobSource, type ByteSource, isExternal, memorySource, type ModelProto, type OnnxSource, openOnnxSource, readOnnx, tensorsOf, tensorToHost, type TensorProto } from '@lowbit/formats'
import { normalizeModel } from '../normalize/normalize.js'
import { isNode } from './is-node.js'

/** A model as it was given. */
export interface ModelSource {
  readonly model: ModelProto
  /** Bytes of the file and of its external data. */
  readonly size: number
  /** What was done to the model when it was opened, see {@link normalizeModel}. */
  readonly notes: readonly string[]
  /** Bytes that this saved. */
  readonly saved: number
  /** What external data is read from, if the model has some that is not in memory. */
  readonly file?: OnnxSource
  /** Paths that are read: the model's own, then its external data. */
  paths(): readonly string[]
  load(tensor: TensorProto): Promise<HostTensor>
  close(): Promise<void>
}

/**
 * What a model is opened from: a path (Node), a `URL` or the text of one with its scheme (`https:`, `blob:`, `data:`; `file:` in Node),
 * the bytes of the file, or a `Blob` or `File`.
 */
export type ModelInput = string | URL | Uint8Array | ArrayBuffer | Blob

/** Files beside a model that is not given by path, by the names that stand in the model. */
export type ModelData = ReadonlyMap<string, Uint8Array | ArrayBuffer | Blob> | Readonly<Record<string, Uint8Array | ArrayBuffer | Blob>>

/**
 * Opens a model. Of Blobs no more is read than is asked for: the model file, and of data files a tensor at a time.
 * @param externalData - files beside a model that is not given by path
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT
 */
export async function openSource(given: ModelInput, externalData: ModelData = {}): Promise<ModelSource> {
  const source = await openGiven(given, externalData)
  try {
    return { ...source, ...(await normalizeModel(source.model, source.load)) }
  } catch (error) {
    await source.close()
    throw error
  }
}

/** A model as the file has it. */
type RawSource = Omit<ModelSource, 'notes' | 'saved'>

async function openGiven(given: ModelInput, externalData: ModelData): Promise<RawSource> {
  const address = addressOf(given)
  if (address !== undefined && address.protocol !== 'file:') return openGiven(await download(address), externalData)
  if (typeof given === 'string' || address !== undefined) return openPath(address ?? String(given))
  if (given instanceof Blob) return openSlices(blobSource(given), externalData)
  const bytes = given instanceof ArrayBuffer ? new Uint8Array(given) : given
  if (!(bytes instanceof Uint8Array)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'model', found: typeof given, expected: 'a path, a URL, an ArrayBuffer, a Uint8Array, a Blob or a File' })
  const files = dataMap(externalData)
  if ([...files.values()].some((file) => file instanceof Blob)) return openSlices(memorySource(plain(bytes), 'model'), externalData)
  const inMemory = new Map([...files].map(([name, file]) => [name, file instanceof ArrayBuffer ? new Uint8Array(file) : file]).filter((entry): entry is [string, Uint8Array] => entry[1] instanceof Uint8Array))
  const model = readOnnx(bytes, inMemory.size === 0 ? {} : { externalData: inMemory })
  const missing = [...tensorsOf(model)].find(isExternal)
  if (missing !== undefined) {
    throw new LowbitError('LOWBIT_FILE', { thing: `tensor '${missing.name}'`, found: 'its data stands in another file', fix: 'open the model by path, or pass { externalData: { name: bytes } }' })
  }
  const extra = [...inMemory.values()].reduce((sum, b) => sum + b.length, 0)
  return { model, size: bytes.byteLength + extra, paths: () => [], load: (t) => Promise.resolve(tensorToHost(t)), close: () => Promise.resolve() }
}

async function openPath(path: string | URL): Promise<RawSource> {
  if (!isNode()) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `model '${String(path)}'`, found: 'a path, in a browser', expected: 'a URL, a File or the bytes of the model', fix: 'pass new URL(path, location.href), or the File that was chosen' })
  // Only Node has this module: a bundler for browsers must not follow it.
  const { filePath, openOnnxFile } = await import('@lowbit/formats/node')
  const file = await openOnnxFile(filePath(path))
  return { model: file.model, size: file.size, file, paths: () => [file.path, ...file.externalFiles().values()], load: (t) => file.readTensor(t), close: () => file.close() }
}

async function openSlices(main: ByteSource, externalData: ModelData): Promise<RawSource> {
  const files = dataMap(externalData)
  const file = await openOnnxSource(main, async (location) => {
    const found = files.get(location)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: main.name, found: `its data stands in '${location}', which was not given`, fix: `pass externalData: { '${location}': file }` })
    if (found instanceof Blob) return blobSource(found, location)
    return memorySource(plain(found instanceof ArrayBuffer ? new Uint8Array(found) : found), location)
  })
  return { model: file.model, size: file.size, file, paths: () => [], load: (t) => file.readTensor(t), close: () => file.close() }
}

function dataMap(data: ModelData): ReadonlyMap<string, Uint8Array | ArrayBuffer | Blob> {
  return data instanceof Map ? data : new Map(Object.entries(data))
}

/** Over memory that nobody shares: what is shared is copied. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, bytes.byteOffset, bytes.length) : new Uint8Array(bytes)
}

/** The URL that a model is named by; a letter and a colon are a drive. */
function addressOf(given: ModelInput): URL | undefined {
  if (given instanceof URL) return given
  return typeof given === 'string' && /^(https?|blob|data|file):/i.test(given) ? new URL(given) : undefined
}

async function download(address: URL): Promise<Uint8Array> {
  const thing = address.protocol === 'data:' ? 'data: URL' : address.href
  try {
    const response = await fetch(address)
    if (!response.ok) throw new LowbitError('LOWBIT_FILE', { thing, found: `the server answered ${response.status} ${response.statusText}`, expected: 'the bytes of a model' })
    return new Uint8Array(await response.arrayBuffer())
  } catch (cause) {
    if (cause instanceof LowbitError) throw cause
    throw new LowbitError('LOWBIT_FILE', { thing, found: 'could not be fetched', fix: 'check the address, and in browsers that its server allows this page (CORS)', cause })
  }
}
