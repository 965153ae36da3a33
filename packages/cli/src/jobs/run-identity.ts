import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'

/** SHA-256 over what a run depends on: JSON values as they are, files by their bytes. */
export async function runIdentity(values: readonly unknown[], files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(values))
  for (const file of files) {
    const content = createHash('sha256')
    await pipeline(createReadStream(file), content)
    hash.update(content.digest('hex'))
  }
  return hash.digest('hex')
}
