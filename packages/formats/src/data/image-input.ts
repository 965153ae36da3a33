import { LowbitError, tensor, type HostTensor, type TensorRef } from '@lowbit/core'

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
export const MAX_PIXELS = 100e6

/** What the single image input of a model takes. */
export interface ImageInput {
  /** Of the input. */
  readonly name: string
  readonly layout: 'nchw' | 'nhwc'
  readonly channels: 1 | 3
  readonly height: number
  readonly width: number
  readonly resize: number | undefined
  readonly mean: readonly number[]
  readonly std: readonly number[]
  readonly order: 'rgb' | 'bgr'
}

/**
 * Reads off a model's inputs how it takes an image.
 * @param thing - for the error
 * @throws LOWBIT_DATA if the model takes no image, LOWBIT_ARGUMENT for options that do not fit it
 */
export function imageInput(inputs: readonly TensorRef[], options: ImageOptions, thing: string): ImageInput {
  const [input] = inputs
  const shape = input?.shape
  if (inputs.length !== 1 || shape?.length !== 4) {
    throw new LowbitError('LOWBIT_DATA', { thing, found: `a model with inputs ${inputs.map((i) => `${i.name} [${(i.shape ?? []).join(', ')}]`).join(', ')}`, expected: 'one input of four axes for images', fix: 'pass an .npz file instead' })
  }
  const layout = options.layout ?? (shape[3] === 3 || (shape[3] === 1 && shape[1] !== 3 && shape[1] !== 1) ? 'nhwc' : 'nchw')
  const [channelDim, heightDim, widthDim] = layout === 'nchw' ? [shape[1], shape[2], shape[3]] : [shape[3], shape[1], shape[2]]
  const channels = channelDim === 1 ? 1 : 3
  const mean = options.mean ?? (channels === 1 ? [0] : [0.485, 0.456, 0.406])
  const std = options.std ?? (channels === 1 ? [1] : [0.229, 0.224, 0.225])
  if (mean.length !== channels || std.length !== channels) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'image mean and std', found: `${mean.length} and ${std.length} values`, expected: `${channels}, one a channel` })
  }
  return { name: input.name, layout, channels, height: options.size ?? fixed(heightDim) ?? 224, width: options.size ?? fixed(widthDim) ?? 224, resize: options.resize, mean, std, order: options.order ?? 'rgb' }
}

function fixed(dim: number | string | undefined): number | undefined {
  return typeof dim === 'number' && dim > 0 ? dim : undefined
}

/** How an image is scaled, and where the crop begins in what comes out; `scale` 1: it is only cropped. */
export interface ImageCrop {
  readonly scale: number
  /** Of the whole image after scaling. */
  readonly width: number
  readonly height: number
  readonly left: number
  readonly top: number
}

/** Scaling and cropping in one resampling: a picture large enough is only cropped unless a short side is asked for. */
export function imageCrop(width: number, height: number, want: Pick<ImageInput, 'height' | 'width' | 'resize'>): ImageCrop {
  const fits = width >= want.width && height >= want.height
  const scale = want.resize === undefined && fits ? 1 : Math.max((want.resize ?? 0) / Math.min(width, height), want.width / width, want.height / height)
  const scaled = { width: Math.max(want.width, Math.round(width * scale)), height: Math.max(want.height, Math.round(height * scale)) }
  return { scale, ...scaled, left: (scaled.width - want.width) >> 1, top: (scaled.height - want.height) >> 1 }
}

/**
 * A batch of one from the pixels of a crop.
 * @param pixels - `[height, width, stride]`, 0 to 255; what follows the model's channels (alpha) is passed over
 * @param stride - bytes a pixel
 */
export function imageTensor(pixels: ArrayLike<number>, stride: number, want: ImageInput, label: string): HostTensor<'float32'> {
  const { layout, channels, height, width, mean, std, order } = want
  const plane = height * width
  const data = new Float32Array(channels * plane)
  for (let c = 0; c < channels; c++) {
    const levels = Float32Array.from({ length: 256 }, (_, level) => (level / 255 - mean[c]) / std[c])
    const [from, step] = layout === 'nchw' ? [c * plane, 1] : [c, channels]
    const source = order === 'bgr' ? channels - 1 - c : c
    for (let p = 0; p < plane; p++) data[from + p * step] = levels[pixels[p * stride + source]]
  }
  return tensor('float32', layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels], data, label)
}
