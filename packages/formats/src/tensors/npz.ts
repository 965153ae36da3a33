import { LowbitError, type HostTensor } from '@lowbit/core'
import { inflateSync, zipSync } from 'fflate'
import { readNpy, writeNpy } from './npy.js'
import { locateZipDirectory, parseZipDirectory, ZIP_TAIL, zipContentOffset, type ZipEntry } from './zip.js'

/** Bytes of one array after inflating. */
export const MAX_NPZ_BYTES = 2 ** 31

/** The arrays of a `.npz` file, inflated one at a time when read. */
export interface NpzFile {
  /** Names as numpy shows them, without `.npy`. */
  readonly names: readonly string[]
  /** Inflates and parses one array. @throws LOWBIT_NOT_FOUND, and as {@link readNpy}. */
  read(name: string): HostTensor
}

/**
 * Opens a `.npz` file in memory (a zip of `.npy` files, as numpy.savez and savez_compressed write). Sizes are checked before anything
 * is inflated; nothing is inflated until it is read.
 * @throws LOWBIT_FORMAT for what is no such file, LOWBIT_LIMIT for sizes no honest file has.
 */
export function readNpz(bytes: Uint8Array, options: { readonly name?: string; readonly maxBytes?: number } = {}): NpzFile {
  const { name: thing = 'npz', maxBytes = MAX_NPZ_BYTES } = options
  const { offset, size } = locateZipDirectory(bytes.subarray(Math.max(0, bytes.length - ZIP_TAIL)), bytes.length, thing)
  const entries = arrayEntries(parseZipDirectory(bytes.subarray(offset, offset + size), bytes.length, thing), thing)
  for (const entry of entries.values()) expectSize(entry, maxBytes, thing)
  return {
    names: [...entries.keys()],
    read(name) {
      const entry = expectArray(entries, name, thing)
      const start = zipContentOffset(bytes.subarray(entry.offset, entry.offset + 30), entry, bytes.length, thing)
      const packed = bytes.subarray(start, start + entry.packed)
      return readNpy(entry.method === 0 ? packed : inflate(packed, entry, thing), `${thing}:${name}`)
    },
  }
}

/** The arrays of an archive by name. @throws LOWBIT_FORMAT for two of one name */
export function arrayEntries(all: readonly ZipEntry[], thing: string): ReadonlyMap<string, ZipEntry> {
  const entries = new Map<string, ZipEntry>()
  for (const entry of all) {
    if (!entry.name.endsWith('.npy')) continue
    const key = entry.name.slice(0, -4)
    if (entries.has(key)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `two arrays named '${key}'` })
    entries.set(key, entry)
  }
  return entries
}

/** @throws LOWBIT_NOT_FOUND naming some of what is there */
export function expectArray<T>(entries: ReadonlyMap<string, T>, name: string, thing: string): T {
  const entry = entries.get(name)
  if (entry === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `no array '${name}'`, expected: `one of ${[...entries.keys()].slice(0, 20).join(', ')}` })
  return entry
}

/** @throws LOWBIT_LIMIT for an array that is too large to be read whole */
export function expectSize(entry: ZipEntry, maxBytes: number, thing: string): void {
  if (entry.method !== 0 && entry.size > maxBytes) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `'${entry.name.slice(0, -4)}' has ${entry.size} bytes`, expected: `at most ${maxBytes}`, fix: 'pass a larger maxBytes if you trust this file' })
}

function inflate(packed: Uint8Array, entry: ZipEntry, thing: string): Uint8Array {
  let content: Uint8Array | undefined
  try {
    // One byte more than promised shows who promised too little.
    content = inflateSync(packed, { out: new Uint8Array(entry.size + 1) })
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: `'${entry.name.slice(0, -4)}' is damaged`, cause })
  }
  if (content.length !== entry.size) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `'${entry.name.slice(0, -4)}' is damaged` })
  return content
}

/** Writes arrays as numpy.savez does; with `compress` as savez_compressed. */
export function writeNpz(tensors: Readonly<Record<string, HostTensor>>, options: { readonly compress?: boolean } = {}): Uint8Array<ArrayBuffer> {
  const files = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [`${name}.npy`, writeNpy(t)]))
  // A fixed time: the same arrays give the same bytes.
  return new Uint8Array(zipSync(files, { level: options.compress ? 6 : 0, mtime: new Date(1980, 0, 1) }))
}
