import { gptq } from '@lowbit/algos-gptq'
import { kScales, type CausalLmHost } from '@lowbit/causal-lm'
import { twoLevelScheme, type TwoLevelType } from '@lowbit/formats/gguf'
import { bestOf, isCodeType, LowbitError, parseRecipe, resolveRecipe, type QuantizeOptions } from '@lowbit/core'
import { parseOverride, settingsFromFlags } from '../recipes/recipe-of-values.js'
import { longName } from '../recipes/short-names.js'
import { pluginTable } from '../plugins/user-plugins.js'
import { UNION } from '../recipes/union.js'
import { K_QUANTS, type KQuant, type QuantizeLmValues } from './quantize-flags.js'

/** Group along K where nothing else is said: what Q4_0 and MatMulNBits have. */
const GROUP = 32

/** What flags ask of `quantize()`. Embedding and head have a rule of their own, which other rules may overrule. */
export async function lmOptions(host: CausalLmHost, format: string, values: QuantizeLmValues): Promise<QuantizeOptions> {
  const { weights = 'int4', embedding = 'int8', group = GROUP, perTensor, symmetric, asymmetric, calibration, mode } = values
  if (embedding !== 'float' && !isCodeType(embedding)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--embedding', found: JSON.stringify(embedding), expected: 'int8, int4, … or float' })
  const kQuant = K_QUANTS.find((k) => k === weights)
  if (kQuant === undefined && !isCodeType(weights)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: JSON.stringify(weights), expected: `int8, int4, uint4, int3, int2, …, or in GGUF ${K_QUANTS.join(', ')}` })
  if (kQuant !== undefined && format !== 'gguf') throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: kQuant, expected: `a type that ${format} has`, fix: 'K-quants are of GGUF alone' })
  if (kQuant !== undefined) for (const flag of ['algorithm', 'group', 'perTensor', 'symmetric', 'asymmetric'] as const) if (values[flag] !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `--${flag}`, found: `does nothing with --weights ${kQuant}`, fix: 'leave it out' })
  const mixed = keepsOneKind(format) ? (values.override ?? []).find((text) => !text.endsWith('=float')) : undefined
  if (mixed !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--override', found: JSON.stringify(mixed), expected: "only pattern=float: the packing of GPTQ tools has one type for all matrices" })
  const algorithm = values.algorithm ?? (calibration === undefined ? 'search' : 'best')
  const isSymmetric = symmetric === true ? true : asymmetric === true ? false : undefined
  const tables = host.sites().filter(({ id }) => id === 'embed' || id === 'head')
  const recipe = parseRecipe({
    lowbit: 1,
    format,
    weights: { dtype: kQuant === undefined ? weights : 'int4', ...(perTensor === true ? { perTensor: true } : { group }), ...(isSymmetric === undefined ? {} : { symmetric: isSymmetric }) },
    rounding: longName(algorithm),
    ...(values.transform === undefined ? {} : { transforms: values.transform.map(longName) }),
    overrides: [
      // Where a format leaves them in float, it says why itself.
      ...(keepsOneKind(format) ? [] : tables).map(({ id }) => ({ match: id, weights: embedding === 'float' ? null : { dtype: embedding, group: GROUP } })),
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
  const chosen = kQuant === undefined ? options : { ...options, ...onLevels(kQuant, calibration !== undefined) }
  return values.set === undefined ? chosen : { ...chosen, settings: settingsFromFlags(values.set, format, host.supports.settings) }
}

/** The packing of GPTQ tools is stated once for all matrices. */
const keepsOneKind = (format: string): boolean => format === 'huggingface'

/**
 * Codes on a K-quant's own scales, so that what is optimised is what is stored. Its rows cannot be stretched afterwards, as the
 * default does elsewhere: that would leave the two levels.
 */
function onLevels(kQuant: KQuant, isCalibrated: boolean): Pick<QuantizeOptions, 'weights' | 'rounding'> {
  const weights = twoLevelScheme(kQuant.toUpperCase() as TwoLevelType)
  const scales = kScales()
  return { weights, rounding: isCalibrated ? bestOf([gptq({ scales }), gptq({ scales, actOrder: 'static' }), scales]) : scales }
}
