import { LowbitError } from '@lowbit/core'

/** Entries of an archive, as many as a plain zip file can have. */
export const MAX_ZIP_ENTRIES = 65_535
/** Bytes at the end of a file in which its directory is found: the longest comment and what stands before it. */
export const ZIP_TAIL = 65_535 + 22 + 20 + 56
/** Deflate cannot shrink more than this: a larger promise is a lie. */
const MAX_RATIO = 1032
const LOCAL_HEADER = 30

/** A file inside a zip archive, as the archive's directory tells of it. */
export interface ZipEntry {
  readonly name: string
  /** 0 stored, 8 deflated. */
  readonly method: number
  /** Bytes in the archive, and once inflated. */
  readonly packed: number
  readonly size: number
  /** Where the entry's own header stands. */
  readonly offset: number
}

const damaged = (thing: string, found: string): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing, found, expected: 'a .npz file as numpy.savez writes it' })

/** Where the directory stands, told from the last bytes of a file. @throws LOWBIT_FORMAT */
export function locateZipDirectory(tail: Uint8Array, fileSize: number, thing: string): { readonly offset: number; readonly size: number } {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length)
  const first = fileSize - tail.length
  for (let at = tail.length - 22; at >= 0; at--) {
    if (view.getUint32(at, true) !== 0x06054b50 || at + 22 + view.getUint16(at + 20, true) !== tail.length) continue
    let size = view.getUint32(at + 12, true)
    let offset = view.getUint32(at + 16, true)
    if (offset === 0xffffffff || size === 0xffffffff || view.getUint16(at + 10, true) === 0xffff) {
      const wide = at >= 20 && view.getUint32(at - 20, true) === 0x07064b50 ? big(view, at - 12) - first : -1
      if (wide >= 0 && wide + 56 <= at && view.getUint32(wide, true) === 0x06064b50) {
        size = big(view, wide + 40)
        offset = big(view, wide + 48)
      }
    }
    if (offset + size > first + at) throw damaged(thing, 'a directory outside of the file')
    return { offset, size }
  }
  throw damaged(thing, 'no zip archive, or one that was cut off')
}

/** The entries of a directory, in its order. @throws LOWBIT_FORMAT, LOWBIT_LIMIT, LOWBIT_UNSUPPORTED */
export function parseZipDirectory(directory: Uint8Array, fileSize: number, thing: string): ZipEntry[] {
  const view = new DataView(directory.buffer, directory.byteOffset, directory.length)
  const entries: ZipEntry[] = []
  for (let at = 0; at < directory.length; ) {
    if (entries.length >= MAX_ZIP_ENTRIES) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `more than ${MAX_ZIP_ENTRIES} entries` })
    if (at + 46 > directory.length || view.getUint32(at, true) !== 0x02014b50) throw damaged(thing, 'a damaged directory')
    const [nameLength, extraLength, commentLength] = [view.getUint16(at + 28, true), view.getUint16(at + 30, true), view.getUint16(at + 32, true)]
    const end = at + 46 + nameLength + extraLength + commentLength
    if (end > directory.length) throw damaged(thing, 'a damaged directory')
    const name = new TextDecoder().decode(directory.subarray(at + 46, at + 46 + nameLength))
    const sizes = widened(view, at + 46 + nameLength, extraLength, [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)])
    const [size, packed, offset] = sizes
    const method = view.getUint16(at + 10, true)
    if ((view.getUint16(at + 8, true) & 1) !== 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `'${name}' is encrypted`, expected: 'a plain archive' })
    if (method !== 0 && method !== 8) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `'${name}' in zip compression ${method}`, expected: 'stored or deflated' })
    const lies = method === 0 ? size !== packed : size > packed * MAX_RATIO + MAX_RATIO
    if (lies || offset + LOCAL_HEADER + packed > fileSize) throw damaged(thing, `'${name}' claims ${size} bytes out of ${packed}`)
    entries.push({ name, method, packed, size, offset })
    at = end
  }
  return entries
}

/** First byte of an entry's content, told from its own header. @param header - 30 bytes at `entry.offset` @throws LOWBIT_FORMAT */
export function zipContentOffset(header: Uint8Array, entry: ZipEntry, fileSize: number, thing: string): number {
  const view = new DataView(header.buffer, header.byteOffset, header.length)
  if (header.length < LOCAL_HEADER || view.getUint32(0, true) !== 0x04034b50) throw damaged(thing, `'${entry.name}' is damaged`)
  const start = entry.offset + LOCAL_HEADER + view.getUint16(26, true) + view.getUint16(28, true)
  if (start + entry.packed > fileSize) throw damaged(thing, `'${entry.name}' is cut off`)
  return start
}

/** Sizes that did not fit 32 bits stand in an extra field, in this order, each only if it is marked. */
function widened(view: DataView, from: number, length: number, sizes: readonly [number, number, number]): readonly [number, number, number] {
  const out: [number, number, number] = [...sizes]
  for (let at = from; at + 4 <= from + length; ) {
    const end = at + 4 + view.getUint16(at + 2, true)
    if (view.getUint16(at, true) === 1) {
      let next = at + 4
      for (let i = 0; i < 3; i++) {
        if (out[i] !== 0xffffffff || next + 8 > Math.min(end, from + length)) continue
        out[i] = big(view, next)
        next += 8
      }
    }
    at = end
  }
  return out
}

/** 64 bits; what is past 2^53 is past every file. */
function big(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true))
}
