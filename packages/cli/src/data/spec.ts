import { resolve } from 'node:path'
import { checkOptions, type Declarations, type DeclarationsOf, type Json } from '@lowbit/core'
import type { FlagsOf } from '../flags/flag.js'
import type { ImageOptions } from './images.js'
import type { DataSpec } from './source.js'

const numbers = { type: 'list', of: { type: 'number' } } as const

/** How images become tensors, as recipes write it. */
const IMAGE_OPTIONS = {
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
  batch: { type: 'integer', minimum: 1, default: 1, about: 'samples a batch, where the model leaves it open' },
  limit: { type: 'integer', minimum: 1, about: 'batches at most' },
  image: { type: 'options', options: IMAGE_OPTIONS, about: 'how images become tensors' },
} as const satisfies DeclarationsOf<DataSpec>

/** Flags that every command with data has. */
export interface DataValues {
  readonly batch?: number
  readonly limit?: number
  readonly imageSize?: number
  readonly imageResize?: number
  readonly imageMean?: readonly number[]
  readonly imageStd?: readonly number[]
  readonly imageLayout?: 'nchw' | 'nhwc'
  readonly imageOrder?: 'rgb' | 'bgr'
}

/**
 * The flags that say how data is read.
 * @param data - flag without which there is none to read
 */
export function dataFlags(data: string): FlagsOf<DataValues> {
  const when = { [data]: 'given' } as const
  const image = <D extends Declarations[string]>(option: D): D => ({ ...option, when, about: `images: ${option.about}` })
  return {
    batch: { flags: '--batch <n>', option: { ...DATA_OPTIONS.batch, when } },
    limit: { flags: '--limit <n>', option: { ...DATA_OPTIONS.limit, when } },
    imageSize: { flags: '--image-size <pixels>', option: image(IMAGE_OPTIONS.size) },
    imageResize: { flags: '--image-resize <pixels>', option: image(IMAGE_OPTIONS.resize) },
    imageMean: { flags: '--image-mean <r,g,b>', option: image(IMAGE_OPTIONS.mean) },
    imageStd: { flags: '--image-std <r,g,b>', option: image(IMAGE_OPTIONS.std) },
    imageLayout: { flags: '--image-layout <layout>', option: image(IMAGE_OPTIONS.layout) },
    imageOrder: { flags: '--image-order <order>', option: image(IMAGE_OPTIONS.order) },
  }
}

/** The JSON form of a data specification, as recipes write it; paths stay as given. */
export function dataJson(path: string, { batch, limit, imageSize, imageResize, imageMean, imageStd, imageLayout, imageOrder }: DataValues): { readonly path: string; readonly [key: string]: Json } {
  const image = present({ size: imageSize, resize: imageResize, mean: imageMean, std: imageStd, layout: imageLayout, order: imageOrder })
  return { path, ...present({ batch, limit }), ...(Object.keys(image).length === 0 ? {} : { image }) }
}

function present(values: Readonly<Record<string, Json | undefined>>): { readonly [key: string]: Json } {
  const out: Record<string, Json> = {}
  for (const [key, value] of Object.entries(values)) if (value !== undefined) out[key] = value
  return out
}

/**
 * Reads the JSON form back; paths are relative to `folder`.
 * @throws LOWBIT_RECIPE for a value of the wrong kind.
 */
export function dataSpec(json: { readonly path: string; readonly [key: string]: Json }, folder: string): DataSpec {
  requireData(json)
  return { ...json, path: resolve(folder, json.path) }
}

function requireData(json: { readonly path: string }): asserts json is DataSpec {
  checkOptions(DATA_OPTIONS, json, { form: 'json', code: 'LOWBIT_RECIPE', place: (path) => (path === '' ? 'recipe.calibration' : `recipe.calibration.${path}`) })
}
