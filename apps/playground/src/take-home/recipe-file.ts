import { pluginUses, type Json, type Recipe } from '@lowbit/core'
import { ALGORITHMS, commandLine } from 'lowbit/recipes'
import { isImage, isText } from '../lab/file-kinds.js'
import type { DataFiles } from '../lab/messages.js'

/** The folder that images are expected in beside the recipe. */
const IMAGES = 'calibration'
/** What texts became. */
export const TOKENS = 'tokens.npz'

/** The recipe of a variant as `lowbit run` takes it: with paths, and the exact versions of what it names. */
export function wholeRecipe(recipe: Recipe, model: string, data: DataFiles | undefined): Recipe {
  const versions = Object.fromEntries(pluginUses(recipe).flatMap((name) => (Object.hasOwn(ALGORITHMS, name) ? [[name, ALGORITHMS[name]({}).version] as const] : [])))
  return { ...recipe, model, output: outputName(model, recipe), ...(data === undefined ? {} : { calibration: calibrationOf(data) }), ...(Object.keys(versions).length === 0 ? {} : { plugins: versions }) }
}

/** The command that makes the same file. */
export function wholeCommand(recipe: Recipe, model: string, data: DataFiles | undefined): string {
  return `npx ${commandLine(wholeRecipe(recipe, model, data), recipeName(model))}`
}

/** `model.int4.onnx` */
export function outputName(model: string, { weights }: Recipe): string {
  return `${stem(model)}.${weights.dtype}.onnx`
}

export function recipeName(model: string): string {
  return `${stem(model)}.recipe.json`
}

/** What the recipe expects beside itself, in a sentence; undefined where that is the model alone. */
export function dataNote(data: DataFiles | undefined): string | undefined {
  if (data === undefined) return undefined
  const { path } = calibrationOf(data)
  return path === IMAGES ? `Put the ${data.files.length} ${data.files.length === 1 ? 'sample' : 'samples'} into a folder “${IMAGES}” beside it.` : `Put ${path} beside it.`
}

function calibrationOf({ files, spec }: DataFiles): { readonly path: string; readonly [key: string]: Json } {
  const [first] = files
  if (files.some((f) => isText(f.name))) return { path: TOKENS }
  const path = files.length === 1 && first !== undefined && !isImage(first.name) ? first.name : IMAGES
  const { image, ...rest } = spec
  return { path, ...rest, ...(image === undefined ? {} : { image: { ...image } }) }
}

function stem(model: string): string {
  return model.replace(/\.onnx$/i, '')
}
