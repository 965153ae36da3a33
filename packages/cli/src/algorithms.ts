import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { hqq } from '@lowbit/algos-hqq'
import { rotate } from '@lowbit/algos-rotate'
import { smoothQuant } from '@lowbit/algos-smoothquant'
import { rtn, type PluginTable } from '@lowbit/core'

/** Every algorithm the command line brings, by the name a recipe uses. */
export const ALGORITHMS: PluginTable = {
  '@lowbit/core/rtn': (config) => rtn(config),
  '@lowbit/algos-hqq': (config) => hqq(config),
  '@lowbit/algos-gptq': (config) => gptq(config),
  '@lowbit/algos-awq': (config) => awq(config),
  '@lowbit/algos-smoothquant': (config) => smoothQuant(config),
  '@lowbit/algos-rotate': (config) => rotate(config),
}
