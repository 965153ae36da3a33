import { resolve } from 'node:path'
import { checkOptions, type Json } from '@lowbit/core'
import { DATA_OPTIONS, type DataSpec } from '@lowbit/formats/data'

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
