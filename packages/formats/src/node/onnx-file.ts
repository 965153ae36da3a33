import { realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openOnnxSource, type OnnxLimits, type OnnxSource } from '../onnx/index.js'
import { fileError } from './file-error.js'
import { openRangeFile, type RangeFile } from './read-range.js'
import { safePath } from './safe-path.js'

export interface OpenOnnxFileOptions {
  readonly limits?: Partial<OnnxLimits>
  /** Folders, beside the model's own, that links to external data may lead to. */
  readonly trustedFolders?: readonly string[]
}

/** A model file whose external data is read when asked for. One tensor in memory at a time; `close` or `await using` it. */
export interface OnnxFile extends OnnxSource {
  readonly path: string
  /** External data files by the name that stands in the model. */
  externalFiles(): ReadonlyMap<string, string>
  /** @throws LOWBIT_FILE if the model or a data file was changed or replaced since it was opened */
  checkUnchanged(): Promise<void>
}

/**
 * Opens a model by path, as {@link openOnnxSource}; its data files stand beside it.
 * Every external file is checked against the model's folder before this returns.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT.
 */
export async function openOnnxFile(path: string, options: OpenOnnxFileOptions = {}): Promise<OnnxFile> {
  const main = await openRangeFile(path)
  const files = new Map<string, RangeFile>()
  const source = await openOnnxSource(
    main,
    async (location) => {
      const file = await openRangeFile(await findData(path, location, options.trustedFolders))
      files.set(location, file)
      return file
    },
    options.limits === undefined ? {} : { limits: options.limits },
  )
  return {
    ...source,
    path,
    externalFiles: () => new Map([...files].map(([location, file]) => [location, file.name])),
    async checkUnchanged() {
      for (const file of [main, ...files.values()]) await file.checkUnchanged()
    },
  }
}

/** The path that a `file:` URL stands for. @throws LOWBIT_FILE for one of another machine */
export function filePath(path: string | URL): string {
  try {
    return typeof path === 'string' ? path : fileURLToPath(path)
  } catch (cause) {
    throw fileError(String(path), cause, 'is no path of this machine')
  }
}

/** Data stands beside the model; where the model is a link, beside the link or where it leads. */
async function findData(path: string, location: string, trusted?: readonly string[]): Promise<string> {
  try {
    return await safePath(dirname(path), location, trusted)
  } catch (error) {
    const real = dirname(await realpath(path).catch(() => path))
    return real === dirname(path) ? Promise.reject(error) : safePath(real, location, trusted).catch(() => Promise.reject(error))
  }
}
