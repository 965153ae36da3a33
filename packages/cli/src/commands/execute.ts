import { dirname, extname, join, relative, resolve } from 'node:path'
import { openOnnx } from '@lowbit/backend-ort'
import { LowbitError, quantize, resolveRecipe, type JobStore, type QuantizeResult, type Recipe } from '@lowbit/core'
import { ALGORITHMS } from '../algorithms.js'
import { dataSpec } from '../data/spec.js'
import { openData } from '../data/source.js'
import type { Terminal } from '../output/terminal.js'

export interface Executed {
  readonly result: QuantizeResult
  readonly output: string
}

/**
 * Runs a recipe: open, quantize, save. The command `quantize` makes a recipe of its options and comes here too,
 * so that a saved recipe reproduces what the command did.
 */
export async function execute(recipe: Recipe, folder: string, terminal: Terminal, jobs?: JobStore): Promise<Executed> {
  if (recipe.model === undefined) {
    throw new LowbitError('LOWBIT_RECIPE', { thing: 'recipe.model', found: 'nothing', expected: 'the path of an .onnx file, relative to the recipe' })
  }
  const model = resolve(folder, recipe.model)
  const output = resolve(folder, recipe.output ?? defaultOutput(recipe))
  if (output === model) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `output ${output}`, found: 'the model itself', fix: 'name another file: the original is needed to compare with' })
  }
  const options = resolveRecipe(recipe, ALGORITHMS)
  const host = await openOnnx(model)
  try {
    const calibration = recipe.calibration === undefined ? undefined : await openData(dataSpec(recipe.calibration, folder), host.inputs())
    const result = await quantize(host, {
      ...options,
      ...(calibration === undefined ? {} : { calibration }),
      ...(jobs === undefined ? {} : { jobs }),
      signal: terminal.signal,
      onProgress: terminal.onProgress,
    })
    await result.save(output)
    return { result, output }
  } finally {
    terminal.stop()
    await host.dispose()
  }
}

/** model.onnx → model.int4.onnx */
export function defaultOutput(recipe: Pick<Recipe, 'model' | 'weights'>): string {
  const model = recipe.model ?? 'model.onnx'
  const extension = extname(model)
  return `${model.slice(0, model.length - extension.length)}.${recipe.weights.dtype}${extension || '.onnx'}`
}

/** A path as a recipe in `folder` would write it: relative, with forward slashes. */
export function recipePath(path: string, folder: string): string {
  const short = relative(folder, resolve(path)).replaceAll('\\', '/')
  return short === '' ? '.' : short
}

/** Folder that the paths of a recipe file are relative to. */
export function recipeFolder(file: string): string {
  return dirname(resolve(file))
}

/** Where resumable work of an output lies. */
export function workFolder(output: string): string {
  return join(dirname(output), `.${output.slice(dirname(output).length + 1)}.lowbit-work`)
}
