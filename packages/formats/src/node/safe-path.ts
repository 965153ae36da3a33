import { realpath, stat } from 'node:fs/promises'
import { isAbsolute, join, relative, sep } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { fileError } from './file-error.js'

/**
 * The real path of a file that a model names, inside the model's folder.
 *
 * The name comes from the file and is hostile: absolute paths, `..`, and symbolic links that lead out are refused,
 * and so is everything that is no regular file.
 * @param trusted Other folders that links may lead to, such as a download cache.
 * @throws LOWBIT_FILE
 */
export async function safePath(folder: string, location: string, trusted: readonly string[] = []): Promise<string> {
  const thing = `external data '${location}'`
  const refuse = (found: string): LowbitError =>
    new LowbitError('LOWBIT_FILE', { thing, found, expected: `a file inside ${folder}`, fix: 'copy the data beside the model, or pass trustedFolders if you trust this model' })
  if (location.includes('\0') || isAbsolute(location) || /^[a-zA-Z]:|^[\\/]/.test(location)) throw refuse('an absolute path')
  if (location.split(/[\\/]/).includes('..')) throw refuse('a path that climbs out of the folder')
  try {
    const real = await realpath(join(folder, location))
    const roots = await Promise.all([folder, ...trusted].map((root) => realpath(root)))
    if (!roots.some((root) => isInside(root, real))) throw refuse('a link that leads out of the folder')
    if (!(await stat(real)).isFile()) throw refuse('no regular file')
    return real
  } catch (cause) {
    throw fileError(thing, cause, 'could not be opened')
  }
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}
