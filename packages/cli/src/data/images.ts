import { basename } from 'node:path'
import { LowbitError, type Batch, type TensorRef } from '@lowbit/core'
import { imageCrop, imageInput, imageTensor, MAX_PIXELS, type ImageInput, type ImageOptions } from '@lowbit/formats/data'
import { optionalImport } from '../output/optional-import.js'

/**
 * Decodes one image into a batch of one for a model with a single image input.
 * @throws LOWBIT_DATA if the model takes no image or the file is none.
 */
export async function imageBatch(file: string, inputs: readonly TensorRef[], options: ImageOptions): Promise<Batch> {
  const want = imageInput(inputs, options, file)
  return { [want.name]: imageTensor(await decode(file, want), want.channels, want, basename(file)) }
}

async function decode(file: string, want: ImageInput): Promise<Uint8Array> {
  // Loaded when there is an image: it takes a fifth of the memory of a run without any.
  const { default: sharp } = await optionalImport(() => import('sharp'), { name: 'sharp', what: 'decoding images', install: 'npm install sharp' })
  try {
    const image = sharp(file, { limitInputPixels: MAX_PIXELS }).autoOrient()
    const found = (await image.metadata()).autoOrient
    const { scale, width, height, left, top } = imageCrop(found.width, found.height, want)
    const scaled = scale === 1 ? image : image.resize(width, height, { fit: 'fill' })
    const cropped = scaled.extract({ left, top, width: want.width, height: want.height })
    const coloured = want.channels === 1 ? cropped.greyscale() : cropped.toColourspace('srgb')
    return await coloured.removeAlpha().raw().toBuffer()
  } catch (cause) {
    throw new LowbitError('LOWBIT_DATA', { thing: file, found: `not a readable image (${cause instanceof Error ? cause.message : String(cause)})`, cause })
  }
}
