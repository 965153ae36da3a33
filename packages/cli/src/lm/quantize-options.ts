import type { CausalLmHost } from '@lowbit/causal-lm'
import { isCodeType, LowbitError, parseRecipe, resolveRecipe, type QuantizeOptions } from '@lowbit/core'
import { parseOverride, settingsFromFlags } from '../recipes/recipe-of-values.js'
import { longName } from '../recipes/short-names.js'
import { pluginTable } from '../plugins/user-plugins.js'
import { UNION } from '../recipes/union.js'
import type { QuantizeLmValues } from './quantize-flags.js'

/** Group along K where nothing else is said: what Q4_0 and MatMulNBits have. */
const GROUP = 32

/** What flags ask of `quantize()`. Embedding and head have a rule of their own, which other rules may overrule. */
export async function lmOptions(host: CausalLmHost, format: string, values: QuantizeLmValues): Promise<QuantizeOptions> {
  const { weights = 'int4', embedding = 'int8', group = GROUP, perTensor, symmetric, asymmetric, calibration, mode } = values
  if (embedding !== 'float' && !isCodeType(embedding)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--embedding', found: JSON.stringify(embedding), expected: 'int8, int4, … or float' })
  const algorithm = values.algorithm ?? (calibration === undefined ? 'search' : 'best')
  const isSymmetric = symmetric === true ? true : asymmetric === true ? false : undefined
  const tables = host.sites().filter(({ id }) => id === 'embed' || id === 'head')
  const recipe = parseRecipe({
    lowbit: 1,
    format,
    weights: { dtype: weights, ...(perTensor === true ? { perTensor: true } : { group }), ...(isSymmetric === undefined ? {} : { symmetric: isSymmetric }) },
    rounding: longName(algorithm),
    ...(values.transform === undefined ? {} : { transforms: values.transform.map(longName) }),
    overrides: [
      ...tables.map(({ id }) => ({ match: id, weights: embedding === 'float' ? null : { dtype: embedding, group: GROUP } })),
      ...(values.override ?? []).map(parseOverride),
    ],
    ...(values.include === undefined ? {} : { include: values.include }),
    ...(values.exclude === undefined ? {} : { exclude: values.exclude }),
    ...(calibration === undefined ? {} : { mode: mode ?? 'sequential' }),
    ...(values.biasCorrection === true ? { biasCorrection: true } : {}),
    ...(values.maxMemory === undefined ? {} : { maxMemory: values.maxMemory * 2 ** 20 }),
    ...(values.seed === undefined ? {} : { seed: values.seed }),
  }, UNION)
  const options = resolveRecipe(recipe, await pluginTable([recipe], true, process.cwd()))
  return values.set === undefined ? options : { ...options, settings: settingsFromFlags(values.set, format, host.supports.settings) }
}
