import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { hqq } from '@lowbit/algos-hqq'
import { rotate } from '@lowbit/algos-rotate'
import { resolveRecipe, rtn, weightScheme, type QuantizeOptions, type Scheme } from '@lowbit/core'
import { ALGORITHMS } from '../../packages/cli/src/recipes/algorithms.js'
import { recipeFromFlags } from '../../packages/cli/src/commands/recipe-from-flags.js'

/** What is done to a model before and while it is rounded. */
export type MethodOptions = Pick<QuantizeOptions, 'weights' | 'rounding' | 'transforms' | 'mode' | 'biasCorrection'>

/** Options under a scheme; `format` is the one that the command would write. */
export type Method = (scheme: Scheme, format: string) => MethodOptions

/** Row of what the command does when it is told the type and the data alone. */
export const DEFAULT = 'default of the command'

const searched = gptq({ refine: 0, mismatch: 0 })
const refinedOne = gptq({ mismatch: 0 })
const matched = gptq()
const unclipped = awq({ clip: false })

/** Methods by name, in the order of the tables. */
export const METHODS: Readonly<Record<string, Method>> = {
  'round to nearest': fixed({}),
  'searched scale, Gram-weighted': fixed({ rounding: rtn({ range: 'search-gram' }) }),
  'HQQ of the command': command({ algorithm: 'hqq' }),
  'HQQ, exact start': (scheme) => ({ weights: { ...weightScheme(unsigned(scheme), { ...groupOf(scheme), symmetric: false }), ...(groupOf(scheme).group === undefined ? {} : { zeroPoint: 'float' }) }, rounding: hqq() }),
  GPTQ: fixed({ rounding: gptq({ scales: 'range', mismatch: 0 }) }),
  'GPTQ on the scales of rounding': fixed({ rounding: gptq({ scales: rtn() }) }),
  'GPTQ, act-order': fixed({ rounding: gptq({ scales: 'range', actOrder: 'static' }) }),
  'GPTQ +s': fixed({ rounding: searched }),
  'GPTQ +s, act-order': fixed({ rounding: gptq({ actOrder: 'static', refine: 0, mismatch: 0 }) }),
  'GPTQ +s, refined': fixed({ rounding: refinedOne }),
  'GPTQ +s, sequential': fixed({ rounding: searched, mode: 'sequential' }),
  'GPTQ +s, refined, sequential': fixed({ rounding: refinedOne, mode: 'sequential' }),
  'GPTQ +s, refined, towards the float model': fixed({ rounding: matched, mode: 'sequential' }),
  'the same, all the way': fixed({ rounding: gptq({ mismatch: 1 }), mode: 'sequential' }),
  [DEFAULT]: command({}),
  'default, sequential': command({ mode: 'sequential' }),
  AWQ: fixed({ transforms: [awq()] }),
  'AWQ → GPTQ': fixed({ transforms: [unclipped], rounding: gptq({ scales: 'range', mismatch: 0 }) }),
  'AWQ → GPTQ +s': fixed({ transforms: [unclipped], rounding: searched }),
  'AWQ → GPTQ +s, sequential': fixed({ transforms: [unclipped], rounding: searched, mode: 'sequential' }),
  'AWQ → GPTQ +s, refined, towards the float model': fixed({ transforms: [unclipped], rounding: matched, mode: 'sequential' }),
  'rotate → GPTQ +s, refined, towards the float model': fixed({ transforms: [rotate()], rounding: matched, mode: 'sequential' }),
  'rotate → GPTQ +s': fixed({ transforms: [rotate()], rounding: searched }),
}

/** Some of the methods, in the order of the tables. */
export function pick(...names: readonly string[]): Readonly<Record<string, Method>> {
  const unknown = names.filter((name) => !(name in METHODS))
  if (unknown.length > 0) throw new RangeError(`no such method: ${unknown.join(', ')}`)
  return Object.fromEntries(Object.entries(METHODS).filter(([name]) => names.includes(name)))
}

function fixed(options: Omit<MethodOptions, 'weights'>): Method {
  return (weights) => ({ weights, ...options })
}

/** What `lowbit quantize` makes of its flags: taken from the command itself, so that a row says what users get. */
function command(flags: { readonly algorithm?: string; readonly mode?: 'one-pass' | 'sequential' }): Method {
  return (scheme, format) => {
    const { group } = groupOf(scheme)
    const recipe = recipeFromFlags(
      'model.onnx',
      { weights: [scheme.dtype], format: group === undefined ? 'dequantize' : format, calibration: 'data.npz', ...(group === undefined ? {} : { group }), ...(scheme.symmetric ? {} : { asymmetric: true }), ...flags },
      process.cwd(),
    )
    const { weights, rounding, transforms, mode, biasCorrection } = resolveRecipe(recipe, ALGORITHMS)
    return { weights, ...(rounding === undefined ? {} : { rounding }), ...(transforms === undefined ? {} : { transforms }), ...(mode === undefined ? {} : { mode }), ...(biasCorrection === undefined ? {} : { biasCorrection }) }
  }
}

function groupOf({ granularity }: Scheme): { readonly group?: number } {
  return granularity.kind === 'group' ? { group: granularity.size } : {}
}

/** HQQ moves zero points: it wants the unsigned type. */
function unsigned({ dtype }: Scheme): 'uint2' | 'uint3' | 'uint4' {
  const name = `u${dtype.replace(/^u/, '')}`
  if (name === 'uint2' || name === 'uint3' || name === 'uint4') return name
  throw new RangeError(`no unsigned type of ${dtype} here`)
}
