import { extname } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { ARRAY_EXTENSIONS } from '@lowbit/formats'
import { openArrayFile, readTextFile } from '@lowbit/formats/node'

/** Name of the array with labels in an `.npz` file. */
const LABELS = 'labels'

/**
 * Class indices, one a sample, in the order of the data: an `.npy` file, the array `labels` of an `.npz` or `.safetensors` file,
 * or text with one number a line (more columns are ignored; the number is the last).
 * @throws LOWBIT_DATA for anything else.
 */
export async function readLabels(file: string): Promise<readonly number[]> {
  if (ARRAY_EXTENSIONS.some((extension) => extension === extname(file).toLowerCase())) return arrayLabels(file)
  const text = await readTextFile(file)
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

async function arrayLabels(file: string): Promise<readonly number[]> {
  await using arrays = await openArrayFile(file)
  const name = arrays.names.includes(LABELS) ? LABELS : arrays.names.length === 1 ? arrays.names[0] : undefined
  if (name === undefined) throw new LowbitError('LOWBIT_DATA', { thing: file, found: `arrays ${arrays.names.slice(0, 20).join(', ')}`, expected: `one named ${LABELS}` })
  return Array.from((await arrays.read(name)).data, Number)
}
