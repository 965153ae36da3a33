import type { Declarations, Json } from '@lowbit/core'
import { DATA_OPTIONS, IMAGE_OPTIONS } from '@lowbit/formats/data'
import type { FlagsOf } from './flag.js'

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
