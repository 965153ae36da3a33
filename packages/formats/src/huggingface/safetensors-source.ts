import { LowbitError, type HostTensor } from '@lowbit/core'
import type { ByteSource } from '../bytes/byte-source.js'
import { hostToFloat32 } from '../bytes/to-float32.js'
import { rowRange, rowsShape, type Rows, type StoredTensor, type TensorSource } from '../bytes/tensor-source.js'
import { parseSafetensorsHeader, safetensorsHeaderLength, safetensorsToHost, type SafetensorsEntry } from '../tensors/safetensors.js'

/** A tensor of a safetensors file. */
export interface SafetensorsTensor extends StoredTensor {
  /** First byte, from the start of its file. */
  readonly offset: number
  /** Which file, from 0. */
  readonly part: number
}

/** Safetensors files that are open, as one set of tensors. */
export interface SafetensorsSource extends TensorSource {
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>
  /** `__metadata__` of the files together. */
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * Opens safetensors files: the headers are read and checked, tensors are read when asked for. Closing it closes the sources.
 * @throws LOWBIT_FORMAT (also for a name that two files have), LOWBIT_SHAPE, LOWBIT_LIMIT, LOWBIT_FILE; the sources are closed then.
 */
export async function openSafetensorsSource(sources: readonly ByteSource[], name = sources[0]?.name ?? 'safetensors'): Promise<SafetensorsSource> {
  const close = async (): Promise<void> => void (await Promise.all(sources.map((source) => source.close())))
  try {
    const tensors = new Map<string, SafetensorsTensor>()
    const metadata: Record<string, string> = {}
    for (const [part, source] of sources.entries()) {
      const length = safetensorsHeaderLength(await source.read(0, Math.min(8, source.size)), source.size, source.name)
      const header = parseSafetensorsHeader(await source.read(8, length), source.size, source.name)
      Object.assign(metadata, header.metadata)
      for (const [key, { type, shape, offset, length: bytes }] of header.entries) {
        const other = tensors.get(key)
        if (other !== undefined) throw new LowbitError('LOWBIT_FORMAT', { thing: `${source.name}: tensor '${key}'`, found: `it stands in ${sources[other.part]?.name} too`, expected: 'each tensor once' })
        tensors.set(key, { name: key, type, shape, offset, length: bytes, part })
      }
    }
    return new OpenSafetensors(name, sources, tensors, metadata)
  } catch (error) {
    await close()
    throw error
  }
}

class OpenSafetensors implements SafetensorsSource {
  readonly name: string
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>
  readonly metadata: Readonly<Record<string, string>>
  readonly #sources: readonly ByteSource[]

  constructor(name: string, sources: readonly ByteSource[], tensors: ReadonlyMap<string, SafetensorsTensor>, metadata: Readonly<Record<string, string>>) {
    this.name = name
    this.tensors = tensors
    this.metadata = metadata
    this.#sources = sources
  }

  #find(name: string): SafetensorsTensor {
    const tensor = this.tensors.get(name)
    if (tensor === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: this.name, found: `no tensor '${name}'`, expected: `one of ${[...this.tensors.keys()].slice(0, 20).join(', ')}` })
    return tensor
  }

  async bytes(name: string, rows?: Rows): Promise<Uint8Array<ArrayBuffer>> {
    const tensor = this.#find(name)
    const { offset, length } = rowRange(tensor, rows, `${this.name}: tensor '${name}'`)
    return (this.#sources[tensor.part] as ByteSource).read(offset, length)
  }

  async #host(name: string, rows?: Rows): Promise<HostTensor> {
    const { type, shape, offset, length } = this.#find(name)
    const entry: SafetensorsEntry = { type, shape: rowsShape(shape, rows), offset, length }
    return safetensorsToHost(entry, await this.bytes(name, rows), `${this.name}: tensor '${name}'`)
  }

  host(name: string): Promise<HostTensor> {
    return this.#host(name)
  }

  async floats(name: string, rows?: Rows): Promise<HostTensor<'float32'>> {
    const host = await this.#host(name, rows)
    return { dtype: 'float32', shape: host.shape, data: hostToFloat32(host) }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sources.map((source) => source.close()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
