import type { Recipe } from '@lowbit/core'

/** A short name for what a recipe makes: `int4 g32, GPTQ`. */
export function variantName(recipe: Recipe): string {
  const { weights, rounding, transforms = [], activations } = recipe
  return [
    `${weights.dtype}${weights.group === undefined ? '' : ` groups of ${weights.group}`}${weights.perTensor === true ? ' per tensor' : ''}`,
    ...(activations === undefined ? [] : [`${activations.dtype} activations`]),
    ...[rounding, ...transforms].flatMap((use) => (use === undefined ? [] : [shortUse(use)])),
  ].join(', ')
}

/** What stands under the name: the format, and what was asked for besides. */
export function variantFacts({ format, weights, rounding }: Recipe): string {
  return [format ?? '', `${weights.dtype}${weights.group === undefined ? '' : ` g${weights.group}`}`, ...(rounding === undefined ? [] : [shortUse(rounding)])].join(' · ')
}

function shortUse(use: NonNullable<Recipe['rounding']>): string {
  const name = typeof use === 'string' ? use : use.use
  // What restores the size of rows is named after what it restores.
  if (typeof use !== 'string' && name === '@lowbit/core/unbiased') return 'best of GPTQ and rounding'
  return name.replace(/^@lowbit\/(algos-|core\/)?/, '')
}
