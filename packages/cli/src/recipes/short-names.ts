import type { PluginUse } from '@lowbit/core'
import { CALIBRATED_DEFAULT } from './algorithms.js'

/** Short names of algorithms on the command line → package and configuration. */
export const SHORT: Readonly<Record<string, PluginUse>> = {
  best: CALIBRATED_DEFAULT,
  rtn: '@lowbit/core/rtn',
  search: { use: '@lowbit/core/rtn', config: { range: 'search' } },
  // The settings that give the codes of ONNX Runtime's own HQQ.
  hqq: { use: '@lowbit/algos-hqq', config: { start: 'rounded', padding: 'zeros', keep: 'last' } },
  gptq: '@lowbit/algos-gptq',
  awq: '@lowbit/algos-awq',
  // A group is left alone where int8 is no better with it; runtimes round a whole tensor with one scale.
  smoothquant: { use: '@lowbit/algos-smoothquant', config: { alpha: 'search', activations: 'tensor' } },
  rotate: '@lowbit/algos-rotate',
}

/** What follows the transforms corrects errors itself: its own measure decides, and it wants weights as they are. */
const CORRECTING = ['best', 'gptq']

/** GPTQ without what would only make it better by itself. */
const MEASURE: PluginUse = { use: '@lowbit/algos-gptq', config: { refine: 0 } }

/** Transforms before a rounding that corrects errors: kept for each group only where its output error falls. */
export const SHORT_BEFORE_CORRECTION: Readonly<Record<string, PluginUse>> = {
  awq: { use: '@lowbit/algos-awq', config: { clip: false, check: MEASURE } },
  rotate: { use: '@lowbit/algos-rotate', config: { rounding: MEASURE } },
}

/** What the name of a transform stands for before a rounding algorithm of that short name. */
export function transformName(name: string, algorithm: string | undefined): PluginUse {
  return algorithm !== undefined && CORRECTING.includes(algorithm) && Object.hasOwn(SHORT_BEFORE_CORRECTION, name) ? SHORT_BEFORE_CORRECTION[name] : longName(name)
}

/** What a name on the command line stands for: a short name, or a package of that name. */
export function longName(name: string): PluginUse {
  return (Object.hasOwn(SHORT, name) ? SHORT[name] : undefined) ?? name
}
