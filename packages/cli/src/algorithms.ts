import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { hqq } from '@lowbit/algos-hqq'
import { rotate } from '@lowbit/algos-rotate'
import { smoothQuant } from '@lowbit/algos-smoothquant'
import { bestOf, LowbitError, resolveRounding, rtn, unbiased, type Json, type PluginTable, type PluginUse } from '@lowbit/core'

/** Every algorithm the command line brings, by the name a recipe uses. */
export const ALGORITHMS: PluginTable = {
  '@lowbit/core/rtn': (config) => rtn(config),
  '@lowbit/core/best-of': ({ candidates = [...CANDIDATES] }) => bestOf(many(candidates).map((use) => resolveRounding(use, ALGORITHMS))),
  '@lowbit/core/unbiased': ({ rounding = '@lowbit/core/rtn' }) => unbiased(resolveRounding(rounding, ALGORITHMS)),
  '@lowbit/algos-hqq': (config) => hqq(config),
  '@lowbit/algos-gptq': (config) => gptq(config),
  '@lowbit/algos-awq': (config) => awq(config),
  '@lowbit/algos-smoothquant': (config) => smoothQuant(config),
  '@lowbit/algos-rotate': (config) => rotate(config),
}

/** Tried at each site: neither order of columns is the better one everywhere, and plain rounding is there so that nothing is worse than it. */
const CANDIDATES: readonly Json[] = [{ use: '@lowbit/algos-gptq' }, { use: '@lowbit/algos-gptq', config: { actOrder: 'static' } }, { use: '@lowbit/core/rtn' }]

/**
 * What the command rounds with below 8 bits where there is data: of GPTQ in both orders and plain rounding what has the least output
 * error, each row's size restored.
 */
export const CALIBRATED_DEFAULT: PluginUse = { use: '@lowbit/core/unbiased', config: { rounding: { use: '@lowbit/core/best-of', config: { candidates: CANDIDATES } } } }

function many(candidates: Json): readonly Json[] {
  if (Array.isArray(candidates)) return candidates
  throw new LowbitError('LOWBIT_RECIPE', { thing: '@lowbit/core/best-of, candidates', found: JSON.stringify(candidates), expected: 'a list of algorithms' })
}
