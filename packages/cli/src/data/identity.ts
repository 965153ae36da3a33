import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Json } from '@lowbit/core'

/** SHA-256 of calibration data: how it is read (crop, batch, limit), and the names and bytes of its files. Where they lie does not matter. */
export async function dataIdentity(spec: { readonly path: string; readonly [key: string]: Json } | undefined, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify({ ...spec, path: undefined }))
  for (const file of files) {
    const content = createHash('sha256')
    await pipeline(createReadStream(file), content)
    hash.update(JSON.stringify([basename(file), content.digest('hex')]))
  }
  return hash.digest('hex')
}
