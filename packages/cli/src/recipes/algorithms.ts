import { awq, AWQ_OPTIONS } from '@lowbit/algos-awq'
import { gptq, GPTQ_OPTIONS, mismatchAware, MISMATCH_OPTIONS } from '@lowbit/algos-gptq'
import { hqq, HQQ_OPTIONS } from '@lowbit/algos-hqq'
import { rotate, ROTATE_OPTIONS } from '@lowbit/algos-rotate'
import { smoothQuant, SMOOTHQUANT_OPTIONS } from '@lowbit/algos-smoothquant'
import { bestOf, ENTROPY_OPTIONS, entropyObserver, LowbitError, minmaxObserver, MOVING_AVERAGE_OPTIONS, movingAverageObserver, mseObserver, PERCENTILE_OPTIONS, percentileObserver, refined, REFINE_OPTIONS, resolveRounding, rtn, RTN_OPTIONS, show, unbiased, type Declarations, type Json, type MadePlugin, type PluginConfig, type PluginFactory, type PluginTable, type PluginUse, type RoundingAlgorithm } from '@lowbit/core'

/** Every algorithm the command line brings, by the name a recipe uses. */
export const ALGORITHMS: PluginTable = {
  '@lowbit/core/rtn': declared(rtn, RTN_OPTIONS),
  '@lowbit/core/best-of': declared(({ candidates }) => bestOf(candidates === undefined ? CANDIDATES.map((use) => resolveRounding(use, ALGORITHMS)) : roundings(candidates)), {
    candidates: { type: 'list', of: { type: 'plugin', kind: 'rounding' }, otherwise: 'GPTQ in both column orders and round to nearest', about: 'algorithms of which each row takes the best' },
  }),
  '@lowbit/core/unbiased': declared(({ rounding }) => unbiased(isRounding(rounding) ? rounding : rtn()), {
    rounding: { type: 'plugin', kind: 'rounding', otherwise: 'round to nearest', about: 'what makes the codes' },
  }),
  '@lowbit/core/refined': declared(({ rounding, ...options }) => refined(isRounding(rounding) ? rounding : rtn(), options), {
    rounding: { type: 'plugin', kind: 'rounding', otherwise: 'round to nearest', about: 'what makes the first codes and scales' },
    ...REFINE_OPTIONS,
  }),
  '@lowbit/algos-hqq': declared(hqq, HQQ_OPTIONS),
  '@lowbit/algos-gptq': declared(gptq, GPTQ_OPTIONS),
  '@lowbit/algos-gptq/mismatch-aware': declared(({ rounding, ...options }) => mismatchAware(isRounding(rounding) ? rounding : rtn(), options), {
    rounding: { type: 'plugin', kind: 'rounding', otherwise: 'round to nearest', about: 'what makes the codes' },
    ...MISMATCH_OPTIONS,
  }),
  '@lowbit/algos-awq': declared(awq, AWQ_OPTIONS),
  '@lowbit/algos-smoothquant': declared(smoothQuant, SMOOTHQUANT_OPTIONS),
  '@lowbit/algos-rotate': declared(rotate, ROTATE_OPTIONS),
  '@lowbit/core/minmax': declared(minmaxObserver, {}),
  '@lowbit/core/moving-average': declared(movingAverageObserver, MOVING_AVERAGE_OPTIONS),
  '@lowbit/core/percentile': declared(percentileObserver, PERCENTILE_OPTIONS),
  '@lowbit/core/entropy': declared(entropyObserver, ENTROPY_OPTIONS),
  '@lowbit/core/mse': declared(mseObserver, {}),
}

/** A factory that says what it takes. */
function declared(make: (config: PluginConfig) => MadePlugin, options: Declarations): PluginFactory {
  return Object.assign((config: PluginConfig) => make(config), { options })
}

/** Tried at each site: neither order of columns is the better one everywhere, and plain rounding is there so that nothing is worse than it. */
const CANDIDATES: readonly Json[] = [{ use: '@lowbit/algos-gptq', config: { refine: 0 } }, { use: '@lowbit/algos-gptq', config: { actOrder: 'static', refine: 0 } }, { use: '@lowbit/core/rtn' }]

/**
 * What the command rounds with below 8 bits where there is data: of GPTQ in both orders and plain rounding what has the least output
 * error, refined, each row's size restored; in sequential mode towards the float model's output.
 */
export const CALIBRATED_DEFAULT: PluginUse = around('@lowbit/algos-gptq/mismatch-aware', around('@lowbit/core/unbiased', around('@lowbit/core/refined', { use: '@lowbit/core/best-of', config: { candidates: CANDIDATES } })))

function around(use: string, rounding: Json): { readonly use: string; readonly config: { readonly rounding: Json } } {
  return { use, config: { rounding } }
}

/** Plugins that a configuration named, which were made before. */
function roundings(made: PluginConfig[string]): readonly RoundingAlgorithm[] {
  if (!Array.isArray(made)) throw new LowbitError('LOWBIT_RECIPE', { thing: '@lowbit/core/best-of, candidates', found: show(made), expected: 'a list of algorithms' })
  return made.map((value: unknown) => {
    if (isRounding(value)) return value
    throw new LowbitError('LOWBIT_RECIPE', { thing: 'algorithm', found: show(value), expected: 'a rounding algorithm, as a package name or { "use": name, "config": options }' })
  })
}

function isRounding(value: unknown): value is RoundingAlgorithm {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'rounding'
}
