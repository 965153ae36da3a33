import type { Recipe } from '@lowbit/core'
import { CALIBRATED_DEFAULT } from '../recipes/algorithms.js'

/** A recipe with a name, as `--ladder` files hold them. */
export interface LadderStep {
  readonly name: string
  readonly recipe: Recipe
}

/** What `lowbit tune` tries when nothing else is said: smallest first. */
export function defaultLadder(calibrated: boolean): readonly LadderStep[] {
  const step = (name: string, recipe: Omit<Recipe, 'lowbit'>): LadderStep => ({ name, recipe: { lowbit: 1, ...recipe } })
  return [
    ...(calibrated ? [step('int4 group 32, calibrated', { format: 'matmul-nbits', weights: { dtype: 'int4', group: 32 }, rounding: CALIBRATED_DEFAULT })] : []),
    step('int4 group 32, searched scale and zero point', { format: 'matmul-nbits', weights: { dtype: 'int4', group: 32, symmetric: false }, rounding: { use: '@lowbit/core/rtn', config: { range: 'search' } } }),
    ...(calibrated ? [step('static int8', { format: 'qdq', weights: { dtype: 'int8' }, activations: { dtype: 'uint8' } })] : []),
    step('dynamic int8', { format: 'dynamic', weights: { dtype: 'int8' } }),
    step('int8 weights', { format: 'dequantize', weights: { dtype: 'int8' } }),
  ]
}
