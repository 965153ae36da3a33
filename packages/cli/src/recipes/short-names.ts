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
  smoothquant: '@lowbit/algos-smoothquant',
  rotate: '@lowbit/algos-rotate',
}

/** What a name on the command line stands for: a short name, or a package of that name. */
export function longName(name: string): PluginUse {
  return (Object.hasOwn(SHORT, name) ? SHORT[name] : undefined) ?? name
}
