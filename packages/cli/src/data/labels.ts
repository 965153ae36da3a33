import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { readTensors, TENSOR_EXTENSIONS } from './tensors.js'

/** Name of the array with labels in an `.npz` file. */
const LABELS = 'labels'

/**
 * Class indices, one a sample, in the order of the data: an `.npy` file, the array `labels` of an `.npz` or `.safetensors` file,
 * or text with one number a line (more columns are ignored; the number is the last).
 * @throws LOWBIT_DATA for anything else.
 */
export async function readLabels(file: string): Promise<readonly number[]> {
  if (TENSOR_EXTENSIONS.includes(extname(file).toLowerCase())) {
    const arrays = await readTensors(file)
    const array = arrays.get(LABELS) ?? (arrays.size === 1 ? [...arrays.values()][0] : undefined)
    if (array === undefined) throw new LowbitError('LOWBIT_DATA', { thing: file, found: `arrays ${[...arrays.keys()].join(', ')}`, expected: `one named ${LABELS}` })
    return Array.from({ length: array.data.length }, (_, i) => Number(array.data[i]))
  }
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new LowbitError('LOWBIT_FILE', { thing: file, found: 'cannot be read', cause })
  }
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '')
    .map((line, i) => {
      const last = line.trim().split(/[\s,;]+/).at(-1) ?? ''
      const value = Number(last)
      if (!Number.isInteger(value)) throw new LowbitError('LOWBIT_DATA', { thing: `${file}, line ${i + 1}`, found: JSON.stringify(line), expected: 'a class index' })
      return value
    })
}
