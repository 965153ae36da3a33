import { extname } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { ARRAY_EXTENSIONS, openArrays, type ArrayFile } from '../tensors/array-file.js'
import { openRangeFile } from './read-range.js'

/**
 * Opens a file of arrays by path; what it is says its extension. As {@link openArrays}: files and arrays of any size, a few samples in
 * memory at a time.
 * @throws LOWBIT_DATA for another extension, LOWBIT_FILE, LOWBIT_FORMAT
 */
export async function openArrayFile(path: string): Promise<ArrayFile> {
  const kind = ARRAY_EXTENSIONS.find((extension) => extension === extname(path).toLowerCase())
  if (kind === undefined) throw new LowbitError('LOWBIT_DATA', { thing: path, found: `a ${extname(path) || 'file without extension'}`, expected: ARRAY_EXTENSIONS.join(', ') })
  const source = await openRangeFile(path)
  try {
    return await openArrays(source, kind)
  } catch (error) {
    await source.close()
    throw error
  }
}
