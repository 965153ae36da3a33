import { ONNX_SETTINGS } from '@lowbit/onnx'
import { ACTIVATION_OPTIONS, checkOptions, isCodeType, LowbitError, parseRecipe, type Declarations, type Json, type Recipe, type RecipeScheme } from '@lowbit/core'
import { dataJson } from '../flags/data-flags.js'
import { STATIC_FORMATS, type QuantizeValues } from './quantize-flags.js'
import { longName, transformName } from './short-names.js'
import { UNION } from './union.js'

/** The paths of a recipe, as it writes them. */
export interface RecipePaths {
  readonly model?: string
  readonly output?: string
}

/**
 * The recipe that the values of `lowbit quantize` stand for. Paths are written as they are given, that of the calibration data too.
 * @param paths - from the scheme of the weights, which names the new file
 */
export function recipeOfValues(given: QuantizeValues, paths: (weights: RecipeScheme) => RecipePaths = () => ({})): Recipe {
  const values = given.target === undefined ? given : { ...given, ...TARGETS[given.target] }
  const { budget, calibration, weights: types } = values
  if (types !== undefined && types.length > 1 && budget === undefined) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: types.join(','), expected: 'one type, or --budget to choose among several' })
  }
  const dtype = firstType(values)
  const format = formatOf(values)
  const isBlind = isWithoutData(values, dtype, format)
  const weights = forAlgorithm(schemeFromFlags(dtype, format, isBlind && values.symmetric !== true ? { ...values, asymmetric: true } : values), format, values)
  // Below 8 bits what the tables show to be best: with data, and without. Else plain rounding.
  const algorithm = values.algorithm ?? (isBlind ? 'search' : calibration !== undefined && !dtype.endsWith('8') ? 'best' : undefined)
  const settings = values.set === undefined ? undefined : settingsFromFlags(values.set, format)
  return parseRecipe({
    lowbit: 1,
    ...paths(weights),
    format,
    weights,
    ...(isStatic(format) ? { activations: activationsFromFlags(values) } : {}),
    ...(algorithm === undefined ? {} : { rounding: longName(algorithm) }),
    ...(values.transform === undefined ? {} : { transforms: values.transform.map((name) => transformName(name, algorithm)) }),
    ...(values.override === undefined ? {} : { overrides: values.override.map(parseOverride) }),
    ...(values.include === undefined ? {} : { include: values.include }),
    ...(values.exclude === undefined ? {} : { exclude: values.exclude }),
    ...(calibration === undefined ? {} : { calibration: dataJson(calibration, values) }),
    ...(values.mode === undefined ? {} : { mode: values.mode }),
    ...(values.biasCorrection === true ? { biasCorrection: true } : {}),
    ...(values.allowNothing === true ? { allowNothing: true } : {}),
    ...(values.maxMemory === undefined ? {} : { maxMemory: values.maxMemory * 2 ** 20 }),
    ...(values.seed === undefined ? {} : { seed: values.seed }),
    ...(settings === undefined ? {} : { settings }),
  }, UNION)
}

/** What engines want, in the words of the other flags. */
const TARGETS: Readonly<Record<NonNullable<QuantizeValues['target']>, Partial<QuantizeValues>>> = {
  tensorrt: { format: 'qdq', activations: 'int8', symmetricActivations: true, rescue: false, set: ['weightStorage="int8"', 'bias="float"'] },
}

/** Integer codes below 8 bits, and nothing to go by but the weights: a searched scale and zero point lose least, in the fast kernels' own layout. */
function isWithoutData({ algorithm, calibration }: QuantizeValues, dtype: string, format: string): boolean {
  return algorithm === undefined && calibration === undefined && /^u?int[234]$/.test(dtype) && (format === 'matmul-nbits' || format === 'dequantize')
}

/** With a budget several types are offered; the first is that of sites the table does not hold, such as embeddings. */
function firstType({ weights, budget }: QuantizeValues): string {
  return weights?.[0] ?? (budget === undefined ? 'int8' : 'int4')
}

/** The format that flags stand for: what is said, or what fits the type and the data. */
export function formatOf(values: QuantizeValues): string {
  if (values.target !== undefined) return TARGETS[values.target].format ?? 'qdq'
  if (values.format !== undefined) return values.format
  if (!firstType(values).endsWith('8')) return 'matmul-nbits'
  return values.calibration === undefined && values.activations === undefined ? 'dynamic' : 'qdq'
}

/** Static formats want constants and normalizations folded, and an opset that has per-channel quantization. */
export function isPrepared(format: string | undefined): boolean {
  return format !== undefined && isStatic(format)
}

function isStatic(format: string): boolean {
  return STATIC_FORMATS.some((f) => f === format)
}

function schemeFromFlags(dtype: string, format: string, { group: given, perTensor, symmetric: isSymmetric, asymmetric, reduceRange }: QuantizeValues): RecipeScheme {
  if (!isCodeType(dtype)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: JSON.stringify(dtype), expected: 'int8, uint8, int4, uint4, int2 or uint2' })
  const group = given ?? (format === 'matmul-nbits' && perTensor !== true ? 32 : undefined)
  const symmetric = isSymmetric === true ? true : asymmetric === true ? false : undefined
  return {
    dtype,
    ...(group === undefined ? {} : { group }),
    ...(perTensor === true ? { perTensor: true } : {}),
    ...(symmetric === undefined ? {} : { symmetric }),
    ...(reduceRange === true ? { reduceRange: true } : {}),
  }
}

/** HQQ moves zero points: signed types become unsigned ones, with float zero points where the format has them. */
function forAlgorithm(scheme: RecipeScheme, format: string, { algorithm, symmetric }: QuantizeValues): RecipeScheme {
  if (algorithm !== 'hqq' || symmetric === true) return scheme
  const unsigned = `u${scheme.dtype.replace(/^u/, '')}`
  if (!isCodeType(unsigned)) return scheme
  return { ...scheme, dtype: unsigned, symmetric: false, ...(format === 'matmul-nbits' && unsigned !== 'uint8' ? { zeroPoint: 'float' } : {}) }
}

function activationsFromFlags({ activations = 'uint8', symmetricActivations, method, rescue, operators, percentile, sample }: QuantizeValues): object {
  const withHistogram = ACTIVATION_OPTIONS.sample.when.method
  if (sample !== undefined && method !== undefined && isMethod(method) && !withHistogram.some((m) => m === method)) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--sample', found: `does nothing with --method ${method}`, expected: `--method ${withHistogram.join(' or ')}`, fix: 'leave --sample out' })
  }
  return {
    dtype: activations,
    ...(symmetricActivations === true ? { symmetric: true } : {}),
    ...(method === undefined ? {} : isMethod(method) ? { method } : { observer: method }),
    ...(rescue === false ? { rescue: false } : {}),
    ...(operators === undefined ? {} : { operators }),
    ...(percentile === undefined ? {} : { percentile }),
    ...(sample === undefined ? {} : { sample }),
  }
}

/** One of core's own; any other name is that of a package. */
export function isMethod(name: string): boolean {
  return ACTIVATION_OPTIONS.method.values.some((v) => v === name)
}

/** `*head*=int8`, `a=uint4:16`, `b=float` */
export function parseOverride(text: string): { match: string; weights: RecipeScheme | null } {
  const at = text.lastIndexOf('=')
  const [dtype = '', group, ...rest] = text.slice(at + 1).split(':')
  const size = group === undefined ? undefined : Number(group)
  const isGroup = size === undefined || (Number.isSafeInteger(size) && size >= 1 && dtype !== 'float')
  if (at < 1 || rest.length > 0 || !isGroup || (dtype !== 'float' && !isCodeType(dtype))) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--override', found: JSON.stringify(text), expected: 'pattern=type or pattern=type:group, such as "*head*=int8", or pattern=float' })
  }
  if (!isCodeType(dtype)) return { match: text.slice(0, at), weights: null }
  return { match: text.slice(0, at), weights: { dtype, ...(size === undefined ? {} : { group: size }) } }
}

/** `--set key=value` of a format, held to what the formats declare. */
export function settingsFromFlags(texts: readonly string[], format: string, known: Declarations = ONNX_SETTINGS): { readonly [key: string]: Json } {
  const settings: Record<string, Json> = {}
  for (const text of texts) {
    const at = text.indexOf('=')
    if (at < 1) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--set', found: JSON.stringify(text), expected: 'key=value' })
    const key = text.slice(0, at)
    if (Object.hasOwn(settings, key)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `--set ${key}`, found: 'two values', expected: 'one' })
    Object.defineProperty(settings, key, { value: jsonOrText(text.slice(at + 1)), enumerable: true })
  }
  checkOptions(known, settings, { form: 'json', code: 'LOWBIT_ARGUMENT', place: (path) => `--set ${path}`, surroundings: (name) => (name === 'format' ? format : undefined) })
  return settings
}

function jsonOrText(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}
