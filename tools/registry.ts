import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename } from 'node:path'
import { filesOf } from './tarball.js'
import type { Manifest } from './workspace.js'

/** A registry on this machine's loopback address that serves packed tarballs, as npm would see them published. */
export interface LocalRegistry {
  readonly url: string
  close(): Promise<void>
}

/** The package.json inside a tarball. */
export function manifestOf(tarball: Uint8Array): Manifest {
  const file = filesOf(tarball).get('package.json')
  if (file === undefined) throw new Error('a tarball without package.json')
  return JSON.parse(file.toString('utf8'))
}

/** Serves tarballs by path; of several versions of a package the last one given is `latest`. */
export async function startRegistry(tarballs: readonly string[]): Promise<LocalRegistry> {
  const files = new Map(tarballs.map((path) => [basename(path), readFileSync(path)]))
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', url).pathname).slice(1)
    const file = path.startsWith('-/') ? files.get(path.slice(2)) : undefined
    const body = file ?? packument(path, files, url)
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': file === undefined ? 'application/json' : 'application/octet-stream' })
    response.end(body ?? '{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const url = `http://127.0.0.1:${address.port}/`
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function packument(name: string, files: ReadonlyMap<string, Buffer>, url: string): string | undefined {
  const versions = [...files]
    .map(([file, bytes]) => ({ file, bytes, manifest: manifestOf(bytes) }))
    .filter(({ manifest }) => manifest.name === name)
    .map(({ file, bytes, manifest }) => ({
      ...manifest,
      dist: { tarball: `${url}-/${file}`, integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}` },
    }))
  const latest = versions.at(-1)
  if (latest === undefined) return undefined
  return JSON.stringify({ name, 'dist-tags': { latest: latest.version }, versions: Object.fromEntries(versions.map((v) => [v.version, v])) })
}
