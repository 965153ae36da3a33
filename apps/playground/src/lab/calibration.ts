import { LowbitError, type Batch, type BatchSource, type TensorRef } from '@lowbit/core'
import { ahead, IMAGE_EXTENSIONS, imageCrop, imageInput, imageTensor, MAX_PIXELS, splitBatches, type ImageInput } from '@lowbit/formats/data'
import { ARRAY_EXTENSIONS, blobSource, openArrays } from '@lowbit/formats'
import { extension, isArrays, isImage } from './file-kinds.js'
import type { DataFiles } from './messages.js'

/** Images that are decoded while one is used. */
const AHEAD = 2

/** Batches for a model out of files that were chosen; iterating again reads again. */
export function openFiles({ files, spec }: DataFiles, inputs: readonly TensorRef[]): BatchSource {
  const known = files.filter(({ name }) => isImage(name) || isArrays(name)).sort((a, b) => (a.name < b.name ? -1 : 1))
  if (known.length === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'calibration data', found: files.map((f) => f.name).slice(0, 5).join(', ') || 'no files', expected: [...ARRAY_EXTENSIONS, ...IMAGE_EXTENSIONS].join(', ') })
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Batch> {
      let given = 0
      const wanted = known.slice(0, spec.limit)
      for await (const [file, image] of ahead(wanted, AHEAD, async (file) => [file, isImage(file.name) ? await imageBatch(file, imageInput(inputs, spec.image ?? {}, file.name)) : undefined] as const)) {
        for await (const batch of image === undefined ? arrayBatches(file, inputs, spec.batch ?? 1) : [image]) {
          if (spec.limit !== undefined && given >= spec.limit) return
          given++
          yield batch
        }
      }
    },
  }
}

async function* arrayBatches(file: File, inputs: readonly TensorRef[], size: number): AsyncGenerator<Batch> {
  const kind = ARRAY_EXTENSIONS.find((e) => e === extension(file.name)) ?? '.npz'
  await using arrays = await openArrays(blobSource(file, file.name), kind)
  yield* splitBatches(arrays, inputs, size)
}

/** Decodes an image as the command does: turned upright, cropped in the middle, scaled only where it is too small or was asked for. */
export async function imageBatch(file: File, want: ImageInput): Promise<Batch> {
  let bitmap: ImageBitmap
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: 'none' })
  } catch (cause) {
    throw new LowbitError('LOWBIT_DATA', { thing: file.name, found: 'not an image that this browser reads', fix: 'convert it to PNG or JPEG', cause })
  }
  try {
    const { width: w, height: h } = bitmap
    if (w * h > MAX_PIXELS) throw new LowbitError('LOWBIT_LIMIT', { thing: file.name, found: `${w} × ${h} pixels`, expected: `at most ${MAX_PIXELS / 1e6} million` })
    const { width, height, left, top } = imageCrop(w, h, want)
    const context = new OffscreenCanvas(want.width, want.height).getContext('2d', { willReadFrequently: true })
    if (context === null) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'this browser', found: 'no canvas in workers', fix: 'give the data as an .npz file' })
    context.imageSmoothingQuality = 'high'
    context.drawImage(bitmap, -left, -top, width, height)
    const { data } = context.getImageData(0, 0, want.width, want.height)
    return { [want.name]: imageTensor(want.channels === 1 ? greys(data) : data, 4, want, file.name) }
  } finally {
    bitmap.close()
  }
}

/** Luma in the first channel, as a grey picture has it: in light, not in codes. */
function greys(rgba: Uint8ClampedArray): Uint8ClampedArray {
  const out = new Uint8ClampedArray(rgba.length)
  for (let i = 0; i < rgba.length; i += 4) {
    const [r, g, b] = [rgba[i], rgba[i + 1], rgba[i + 2]]
    out[i] = r === g && g === b ? r : encode(0.2126 * LINEAR[r] + 0.7152 * LINEAR[g] + 0.0722 * LINEAR[b])
  }
  return out
}

/** sRGB codes as light. */
const LINEAR = Float64Array.from({ length: 256 }, (_, code) => (code <= 10 ? code / 255 / 12.92 : ((code / 255 + 0.055) / 1.055) ** 2.4))

function encode(light: number): number {
  return 255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055)
}
