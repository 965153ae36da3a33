import { resolve } from 'node:path'
import { ACTIVATION_OPTIONS, LowbitError, suggest, type Recipe } from '@lowbit/core'
import { nearestProject } from '../plugins/find-package.js'
import type { QuantizeValues } from '../recipes/quantize-flags.js'
import { isMethod, recipeOfValues } from '../recipes/recipe-of-values.js'
import { defaultOutput, recipePath } from './execute.js'

/** The recipe that a command line stands for; paths are relative to `folder`. */
export function recipeFromFlags(model: string, values: QuantizeValues, folder: string): Recipe {
  requireMethod(values.method)
  const { calibration } = values
  return recipeOfValues({ ...values, ...(calibration === undefined ? {} : { calibration: recipePath(calibration, folder) }) }, (weights) => ({
    model: recipePath(model, folder),
    output: recipePath(values.output ?? defaultOutput({ model: resolve(model), weights }), folder),
  }))
}

/** A misspelt method is not taken for the name of a package, unless there is one. */
function requireMethod(method: string | undefined): void {
  const known = ACTIVATION_OPTIONS.method.values
  const near = method === undefined || isMethod(method) ? undefined : suggest(method, known)
  if (method === undefined || near === undefined || nearestProject(process.cwd())?.listed.has(method) === true) return
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--method', found: JSON.stringify(method), expected: `one of ${known.join(', ')}, or a package that your package.json lists`, fix: `did you mean ${near}?` })
}
