import { basename } from 'node:path'
import { LowbitError, tensor, type Batch, type TensorRef } from '@lowbit/core'
import { optionalImport } from '../output/optional-import.js'

/** How pixels become a tensor. What is absent is read off the model's input, or is what ImageNet models use. */
export interface ImageOptions {
  /** Height and width of the crop. Default: those of the model's input, else 224. */
  readonly size?: number
  /** Short side before the centre crop. Default: no scaling if the image is large enough for the crop, else the crop's size. */
  readonly resize?: number
  /** Subtracted from values scaled to 0…1, one a channel. Default 0.485, 0.456, 0.406. */
  readonly mean?: readonly number[]
  /** Divides afterwards. Default 0.229, 0.224, 0.225. */
  readonly std?: readonly number[]
  /** Default: read off the shape (3 or 1 where the channels are). */
  readonly layout?: 'nchw' | 'nhwc'
  readonly order?: 'rgb' | 'bgr'
}

export const IMAGE_EXTENSIONS: readonly string[] = ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif']

/** More pixels than this in a file are refused before they are decoded. */
const MAX_PIXELS = 100e6

/**
 * Decodes one image into a batch of one for a model with a single image input.
 * @throws LOWBIT_DATA if the model takes no image or the file is none.
 */
export async function imageBatch(file: string, inputs: readonly TensorRef[], options: ImageOptions): Promise<Batch> {
  const [input] = inputs
  const shape = input?.shape
  if (inputs.length !== 1 || shape?.length !== 4) {
    throw new LowbitError('LOWBIT_DATA', { thing: file, found: `a model with inputs ${inputs.map((i) => `${i.name} [${(i.shape ?? []).join(', ')}]`).join(', ')}`, expected: 'one input of four axes for images', fix: 'pass an .npz file instead' })
  }
  const layout = options.layout ?? (shape[3] === 3 || (shape[3] === 1 && shape[1] !== 3 && shape[1] !== 1) ? 'nhwc' : 'nchw')
  const [channelDim, heightDim, widthDim] = layout === 'nchw' ? [shape[1], shape[2], shape[3]] : [shape[3], shape[1], shape[2]]
  const channels = channelDim === 1 ? 1 : 3
  const height = options.size ?? fixed(heightDim) ?? 224
  const width = options.size ?? fixed(widthDim) ?? 224
  const pixels = await decode(file, { height, width, channels, resize: options.resize })
  const mean = options.mean ?? (channels === 1 ? [0] : [0.485, 0.456, 0.406])
  const std = options.std ?? (channels === 1 ? [1] : [0.229, 0.224, 0.225])
  if (mean.length !== channels || std.length !== channels) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'image mean and std', found: `${mean.length} and ${std.length} values`, expected: `${channels}, one a channel` })
  }
  const plane = height * width
  const data = new Float32Array(channels * plane)
  for (let c = 0; c < channels; c++) {
    const levels = Float32Array.from({ length: 256 }, (_, level) => (level / 255 - mean[c]) / std[c])
    const [from, step] = layout === 'nchw' ? [c * plane, 1] : [c, channels]
    const source = options.order === 'bgr' ? channels - 1 - c : c
    for (let p = 0; p < plane; p++) data[from + p * step] = levels[pixels[p * channels + source]]
  }
  return { [input.name]: tensor('float32', layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels], data, basename(file)) }
}

function fixed(dim: number | string | undefined): number | undefined {
  return typeof dim === 'number' && dim > 0 ? dim : undefined
}

async function decode(file: string, want: { height: number; width: number; channels: number; resize: number | undefined }): Promise<Uint8Array> {
  // Loaded when there is an image: it takes a fifth of the memory of a run without any.
  const { default: sharp } = await optionalImport(() => import('sharp'), { name: 'sharp', what: 'decoding images', install: 'npm install sharp' })
  try {
    const image = sharp(file, { limitInputPixels: MAX_PIXELS }).autoOrient()
    const { width: w, height: h } = (await image.metadata()).autoOrient
    const fits = w >= want.width && h >= want.height
    // Scaling and cropping in one resampling: a picture large enough is only cropped unless a short side is asked for.
    const scale = want.resize === undefined && fits ? 1 : Math.max((want.resize ?? 0) / Math.min(w, h), want.width / w, want.height / h)
    const width = Math.max(want.width, Math.round(w * scale))
    const height = Math.max(want.height, Math.round(h * scale))
    const scaled = scale === 1 ? image : image.resize(width, height, { fit: 'fill' })
    const cropped = scaled.extract({ left: (width - want.width) >> 1, top: (height - want.height) >> 1, width: want.width, height: want.height })
    const coloured = want.channels === 1 ? cropped.greyscale() : cropped.toColourspace('srgb')
    return await coloured.removeAlpha().raw().toBuffer()
  } catch (cause) {
    throw new LowbitError('LOWBIT_DATA', { thing: file, found: `not a readable image (${cause instanceof Error ? cause.message : String(cause)})`, cause })
  }
}
