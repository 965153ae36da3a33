import type { DeclarationsOf } from '@lowbit/core'
import type { ImageOptions } from './image-input.js'

/** Where data comes from and how much of it to take. */
export interface DataSpec {
  /** `.npz`, `.npy`, `.safetensors`, or a folder of those or of images. */
  readonly path: string
  /** Samples a batch, where the model leaves the first axis open. Default 1; each file of a folder of arrays is a batch as it is. */
  readonly batch?: number
  /** Batches at most. */
  readonly limit?: number
  readonly image?: ImageOptions
}

const numbers = { type: 'list', of: { type: 'number' } } as const

/** How images become tensors, as recipes write it. */
export const IMAGE_OPTIONS = {
  size: { type: 'integer', minimum: 1, maximum: 65536, otherwise: 'the model’s input', about: 'height and width of the centre crop' },
  resize: { type: 'integer', minimum: 1, maximum: 65536, about: 'short side before the crop' },
  mean: { ...numbers, otherwise: 'ImageNet’s', about: 'mean of each channel, values are 0 to 1' },
  std: { ...numbers, otherwise: 'ImageNet’s', about: 'standard deviation of each channel' },
  layout: { type: 'choice', values: ['nchw', 'nhwc'], otherwise: 'read off the input', about: 'order of the axes' },
  order: { type: 'choice', values: ['rgb', 'bgr'], default: 'rgb', about: 'order of the channels' },
} as const satisfies DeclarationsOf<ImageOptions>

/** Calibration data as recipes write it. */
export const DATA_OPTIONS = {
  path: { type: 'text', required: true, about: '.npz, .npy, .safetensors, or a folder of those or of images' },
  batch: { type: 'integer', minimum: 1, otherwise: '1; of a folder of arrays, each file', about: 'samples a batch, where the model leaves it open' },
  limit: { type: 'integer', minimum: 1, about: 'batches at most' },
  image: { type: 'options', options: IMAGE_OPTIONS, about: 'how images become tensors' },
} as const satisfies DeclarationsOf<DataSpec>
