import { resolve } from 'node:path'
import type { Command } from 'commander'
import { LowbitError, type Json } from '@lowbit/core'
import type { ImageOptions } from './images.js'
import type { DataSpec } from './source.js'

/** Options that every command with data has, as commander gives them. */
export interface DataFlags {
  readonly batch?: string
  readonly limit?: string
  readonly imageSize?: string
  readonly imageResize?: string
  readonly imageMean?: string
  readonly imageStd?: string
  readonly imageLayout?: string
  readonly imageOrder?: string
}

/** Adds the options that say how data is read. */
export function addDataFlags(command: Command): Command {
  return command
    .option('--batch <n>', 'samples a batch, where the model leaves it open (default 1)')
    .option('--limit <n>', 'batches at most')
    .option('--image-size <pixels>', 'images: height and width of the centre crop (default: the model’s input)')
    .option('--image-resize <pixels>', 'images: short side before the crop')
    .option('--image-mean <r,g,b>', 'images: mean, values are 0 to 1 (default ImageNet’s)')
    .option('--image-std <r,g,b>', 'images: standard deviation (default ImageNet’s)')
    .option('--image-layout <layout>', 'images: nchw or nhwc (default: read off the input)')
    .option('--image-order <order>', 'images: rgb or bgr (default rgb)')
}

/** The JSON form of a data specification, as recipes write it; paths stay as given. */
export function dataJson(path: string, flags: DataFlags): { readonly path: string; readonly [key: string]: Json } {
  const image: Record<string, Json> = {}
  if (flags.imageSize !== undefined) image.size = wholeNumber('--image-size', flags.imageSize)
  if (flags.imageResize !== undefined) image.resize = wholeNumber('--image-resize', flags.imageResize)
  if (flags.imageMean !== undefined) image.mean = numbers('--image-mean', flags.imageMean)
  if (flags.imageStd !== undefined) image.std = numbers('--image-std', flags.imageStd)
  if (flags.imageLayout !== undefined) image.layout = oneOf('--image-layout', flags.imageLayout, ['nchw', 'nhwc'])
  if (flags.imageOrder !== undefined) image.order = oneOf('--image-order', flags.imageOrder, ['rgb', 'bgr'])
  return {
    path,
    ...(flags.batch === undefined ? {} : { batch: wholeNumber('--batch', flags.batch) }),
    ...(flags.limit === undefined ? {} : { limit: wholeNumber('--limit', flags.limit) }),
    ...(Object.keys(image).length === 0 ? {} : { image }),
  }
}

/**
 * Reads the JSON form back; paths are relative to `folder`.
 * @throws LOWBIT_RECIPE for a value of the wrong kind.
 */
export function dataSpec(json: { readonly path: string; readonly [key: string]: Json }, folder: string): DataSpec {
  const number = (key: string): number | undefined => {
    const value = json[key]
    if (value === undefined) return undefined
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) throw wrong(key, value, 'a whole number of at least 1')
    return value
  }
  const batch = number('batch')
  const limit = number('limit')
  return {
    path: resolve(folder, json.path),
    ...(batch === undefined ? {} : { batch }),
    ...(limit === undefined ? {} : { limit }),
    ...(json.image === undefined ? {} : { image: imageOptions(json.image) }),
  }
}

function imageOptions(json: Json): ImageOptions {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw wrong('image', json, 'an object')
  const value = json as { readonly [key: string]: Json }
  const { size, resize, mean, std, layout, order } = value
  const whole = (v: Json | undefined): v is number => typeof v === 'number' && Number.isInteger(v) && v > 0
  const list = (v: Json | undefined): v is number[] => Array.isArray(v) && v.every((x) => typeof x === 'number')
  if (size !== undefined && !whole(size)) throw wrong('image.size', size, 'a whole number')
  if (resize !== undefined && !whole(resize)) throw wrong('image.resize', resize, 'a whole number')
  if (mean !== undefined && !list(mean)) throw wrong('image.mean', mean, 'numbers')
  if (std !== undefined && !list(std)) throw wrong('image.std', std, 'numbers')
  if (layout !== undefined && layout !== 'nchw' && layout !== 'nhwc') throw wrong('image.layout', layout, 'nchw or nhwc')
  if (order !== undefined && order !== 'rgb' && order !== 'bgr') throw wrong('image.order', order, 'rgb or bgr')
  return {
    ...(size === undefined ? {} : { size }),
    ...(resize === undefined ? {} : { resize }),
    ...(mean === undefined ? {} : { mean }),
    ...(std === undefined ? {} : { std }),
    ...(layout === undefined ? {} : { layout }),
    ...(order === undefined ? {} : { order }),
  }
}

function wrong(key: string, found: Json, expected: string): LowbitError {
  return new LowbitError('LOWBIT_RECIPE', { thing: `recipe.calibration.${key}`, found: JSON.stringify(found), expected })
}

/** @throws LOWBIT_ARGUMENT unless the text is a whole number of at least `least`. */
export function wholeNumber(flag: string, text: string, least = 1): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < least) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: `a whole number of at least ${least}` })
  }
  return value
}

function numbers(flag: string, text: string): number[] {
  const values = text.split(',').map(Number)
  if (values.some((v) => !Number.isFinite(v)) || text.trim() === '') throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: 'numbers with commas between, such as 0.5,0.5,0.5' })
  return values
}

/** @throws LOWBIT_ARGUMENT unless the text is one of the choices. */
export function oneOf<T extends string>(flag: string, text: string, choices: readonly T[]): T {
  const found = choices.find((c) => c === text)
  if (found === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: choices.join(', ') })
  return found
}
