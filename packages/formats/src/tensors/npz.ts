import { LowbitError, type HostTensor } from '@lowbit/core'
import { unzipSync, zipSync } from 'fflate'
import { readNpy, writeNpy } from './npy.js'

/** Arrays in one file. */
export const MAX_NPZ_ENTRIES = 65_535
/** Bytes of one array after inflating. */
export const MAX_NPZ_BYTES = 2 ** 31
/** Deflate cannot shrink more than this: a larger promise is a lie. */
const MAX_RATIO = 1032

/** The arrays of a `.npz` file, inflated one at a time when read. */
export interface NpzFile {
  /** Names as numpy shows them, without `.npy`. */
  readonly names: readonly string[]
  /** Inflates and parses one array. @throws LOWBIT_NOT_FOUND, and as {@link readNpy}. */
  read(name: string): HostTensor
}

interface Entry {
  readonly path: string
  readonly size: number
  readonly packed: number
}

/**
 * Opens a `.npz` file (a zip of `.npy` files, as numpy.savez and savez_compressed write). Sizes are checked before anything
 * is inflated; nothing is inflated until it is read.
 * @throws LOWBIT_FORMAT for what is no such file, LOWBIT_LIMIT for sizes no honest file has.
 */
export function readNpz(bytes: Uint8Array, options: { readonly name?: string; readonly maxBytes?: number } = {}): NpzFile {
  const { name: thing = 'npz', maxBytes = MAX_NPZ_BYTES } = options
  const entries = listEntries(bytes, thing, maxBytes)
  return {
    names: [...entries.keys()],
    read(name) {
      const entry = entries.get(name)
      if (entry === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `no array '${name}'`, expected: `one of ${[...entries.keys()].slice(0, 20).join(', ')}` })
      const content = unzip(bytes, (file) => file.name === entry.path, thing)[entry.path]
      if (content === undefined || content.length !== entry.size) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `'${name}' is damaged` })
      return readNpy(content, `${thing}:${name}`)
    },
  }
}

type Filter = (file: { name: string; size: number; originalSize: number; compression: number }) => boolean

function unzip(bytes: Uint8Array, filter: Filter, thing: string): Record<string, Uint8Array> {
  try {
    return unzipSync(bytes, { filter })
  } catch (cause) {
    if (cause instanceof LowbitError) throw cause
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'a damaged zip archive', expected: 'a .npz file as numpy.savez writes it', cause })
  }
}

function listEntries(bytes: Uint8Array, thing: string, maxBytes: number): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  let count = 0
  unzip(
    bytes,
    ({ name, size, originalSize, compression }) => {
      if (++count > MAX_NPZ_ENTRIES) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `more than ${MAX_NPZ_ENTRIES} entries` })
      if (!name.endsWith('.npy')) return false
      const key = name.slice(0, -4)
      if (entries.has(key)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `two arrays named '${key}'` })
      if (compression !== 0 && compression !== 8) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `'${key}' in zip compression ${compression}`, expected: 'stored or deflated' })
      const lies = compression === 0 ? originalSize !== size : originalSize > size * MAX_RATIO + MAX_RATIO
      if (lies || size > bytes.length) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `'${key}' claims ${originalSize} bytes out of ${size}` })
      if (originalSize > maxBytes) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `'${key}' has ${originalSize} bytes`, expected: `at most ${maxBytes}`, fix: 'pass a larger maxBytes if you trust this file' })
      entries.set(key, { path: name, size: originalSize, packed: size })
      return false
    },
    thing,
  )
  return entries
}

/** Writes arrays as numpy.savez does; with `compress` as savez_compressed. */
export function writeNpz(tensors: Readonly<Record<string, HostTensor>>, options: { readonly compress?: boolean } = {}): Uint8Array<ArrayBuffer> {
  const files = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [`${name}.npy`, writeNpy(t)]))
  // A fixed time: the same arrays give the same bytes.
  return new Uint8Array(zipSync(files, { level: options.compress ? 6 : 0, mtime: new Date(1980, 0, 1) }))
}
