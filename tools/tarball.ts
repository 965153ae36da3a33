import { gunzipSync } from 'node:zlib'

/** Files inside an npm tarball, by their path below `package/`. */
export function filesOf(tarball: Uint8Array): ReadonlyMap<string, Buffer> {
  const tar = gunzipSync(tarball)
  const files = new Map<string, Buffer>()
  for (let at = 0; at + 512 <= tar.length; ) {
    const text = (from: number, length: number): string => tar.toString('utf8', at + from, at + from + length).replace(/\0.*$/s, '')
    const size = Number.parseInt(text(124, 12), 8) || 0
    const name = text(0, 100)
    if (name.startsWith('package/')) files.set(name.slice('package/'.length), tar.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}
