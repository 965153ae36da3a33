import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Folder of models and texts that may lie beside the checkout. */
const FOLDER = fileURLToPath(new URL('../../../shared/data/', import.meta.url))

/** Path of a shared data file, or undefined where nothing lies beside the checkout. */
export function sharedData(name: string): string | undefined {
  const path = `${FOLDER}${name}`
  return existsSync(path) ? path : undefined
}

/** As {@link sharedData}. @throws with the path that is missing. */
export function needSharedData(name: string): string {
  const path = sharedData(name)
  if (path === undefined) throw new Error(`${name} is not in ../shared/data beside the checkout`)
  return path
}
