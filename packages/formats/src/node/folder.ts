import { mkdir, readdir, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError } from './file-error.js'

/** Makes a folder and those that it lies in. @throws LOWBIT_FILE */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (cause) {
    throw fileError(path, cause, 'could not be made')
  }
}

/** Removes the files of a folder that a test picks by name. @throws LOWBIT_FILE */
export async function removeFiles(folder: string, picked: (name: string) => boolean): Promise<void> {
  try {
    for (const name of await readdir(folder)) if (picked(name)) await unlink(join(folder, name))
  } catch (cause) {
    throw fileError(folder, cause, 'could not be tidied up')
  }
}

/** Removes a folder with all that is in it; none is none. @throws LOWBIT_FILE */
export async function removeFolder(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true })
  } catch (cause) {
    throw fileError(path, cause, 'could not be removed')
  }
}
