import { ONNX_SETTINGS } from '@lowbit/onnx'
import type { RecipeUnion } from '@lowbit/core'
import { DATA_OPTIONS } from '@lowbit/formats/data'
import { ALGORITHMS } from './algorithms.js'

/** What everything the command brings declares: recipes are read by it, and their published schema is written from it. */
export const UNION: RecipeUnion = {
  configs: Object.fromEntries(Object.entries(ALGORITHMS).flatMap(([name, { options }]) => (options === undefined ? [] : [[name, options]]))),
  settings: ONNX_SETTINGS,
  calibration: DATA_OPTIONS,
}
