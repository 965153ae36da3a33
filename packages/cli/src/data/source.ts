import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { LowbitError, type Batch, type TensorRef } from '@lowbit/core'
import { ARRAY_EXTENSIONS } from '@lowbit/formats'
import { ahead, IMAGE_EXTENSIONS, splitBatches, type DataSpec } from '@lowbit/formats/data'
import { fileError, openArrayFile, watchFiles } from '@lowbit/formats/node'
import { imageBatch } from './images.js'

/** Images that are decoded on other threads while one is used. */
const IMAGES_AHEAD = 2

/** Batches read from disk as they are asked for; iterating again reads again, so memory holds one file of arrays or a few images. */
export interface DataSource extends AsyncIterable<Batch> {
  /** Files behind it. */
  readonly files: readonly string[]
  /** @throws LOWBIT_FILE if one of them was changed, replaced or removed since they were opened */
  checkUnchanged(): Promise<void>
}

/**
 * Opens calibration or comparison data for a model's inputs.
 * @throws LOWBIT_DATA if there is nothing that fits.
 */
export async function openData(spec: DataSpec, inputs: readonly TensorRef[]): Promise<DataSource> {
  const files = await listFiles(spec.path)
  const images = files.filter(isImage).length
  const useless = spec.image !== undefined && images === 0 ? 'image' : spec.batch !== undefined && images === files.length ? 'batch' : undefined
  if (useless !== undefined) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `option ${useless} of the data ${spec.path}`, found: useless === 'image' ? 'does nothing: there is no image' : 'does nothing: every image is a batch of its own', fix: 'leave it out' })
  }
  const watch = await watchFiles(files)
  return {
    files,
    checkUnchanged: watch.checkUnchanged,
    async *[Symbol.asyncIterator]() {
      let given = 0
      const wanted = files.slice(0, spec.limit)
      // Whoever writes a folder of arrays has put what belongs together into one file.
      const size = spec.batch ?? (files.length > 1 ? 'whole' : 1)
      for await (const [file, image] of ahead(wanted, IMAGES_AHEAD, async (file) => [file, isImage(file) ? await imageBatch(file, inputs, spec.image ?? {}) : undefined] as const)) {
        for await (const batch of image === undefined ? arrayBatches(file, inputs, size) : [image]) {
          if (spec.limit !== undefined && given >= spec.limit) return
          given++
          yield batch
        }
      }
    },
  }
}

async function* arrayBatches(file: string, inputs: readonly TensorRef[], size: number | 'whole'): AsyncGenerator<Batch> {
  await using arrays = await openArrayFile(file)
  yield* splitBatches(arrays, inputs, size)
}

async function listFiles(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch((cause: unknown) => {
    throw fileError(path, cause, 'could not be read')
  })
  const known = [...ARRAY_EXTENSIONS, ...IMAGE_EXTENSIONS]
  const fits = (name: string): boolean => known.includes(extname(name).toLowerCase())
  if (!found.isDirectory()) {
    await expectFiles([path])
    if (!fits(path)) throw new LowbitError('LOWBIT_DATA', { thing: path, found: `a ${extname(path) || 'file without extension'}`, expected: known.join(', ') })
    return [path]
  }
  const files = (await readdir(path)).filter(fits).sort().map((name) => join(path, name))
  if (files.length === 0) throw new LowbitError('LOWBIT_DATA', { thing: `folder ${path}`, found: 'no data files', expected: known.join(', ') })
  await expectFiles(files)
  return files
}

/** Opening a pipe would wait for who writes to it, and an image decoder would too. @throws LOWBIT_FILE */
async function expectFiles(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const found = await stat(file).catch((cause: unknown) => {
      throw fileError(file, cause, 'could not be read')
    })
    if (!found.isFile()) throw new LowbitError('LOWBIT_FILE', { thing: file, found: found.isDirectory() ? 'a folder' : 'a pipe, a socket or a device', expected: 'a file' })
  }
}

function isImage(file: string): boolean {
  return IMAGE_EXTENSIONS.includes(extname(file).toLowerCase())
}
