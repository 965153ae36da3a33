import { resolve } from 'node:path'
import type { Command } from 'commander'
import { isCodeType, LowbitError, own, parseJsonText, parseRecipe, type Json, type PluginUse, type Recipe, type RecipeScheme } from '@lowbit/core'
import { reportJson, reportText } from '@lowbit/report'
import { CALIBRATED_DEFAULT } from '../algorithms.js'
import { addDataFlags, dataJson, oneOf, wholeNumber, type DataFlags } from '../data/spec.js'
import { refuseStream } from '../output/files.js'
import { processTerminal, type Terminal } from '../output/terminal.js'
import { budgetOverrides, parseSize } from './budget.js'
import { defaultOutput, execute, executeOptions, recipeFolder, recipePath } from './execute.js'

interface QuantizeFlags extends DataFlags {
  readonly output?: string
  readonly weights?: string
  readonly group?: string
  readonly perTensor?: boolean
  readonly symmetric?: boolean
  readonly asymmetric?: boolean
  readonly reduceRange?: boolean
  readonly format?: string
  readonly algorithm?: string
  readonly transform?: string
  readonly activations?: string
  readonly method?: string
  readonly percentile?: string
  readonly sample?: string
  readonly rescue?: boolean
  readonly operators?: string
  readonly calibration?: string
  readonly calibrationCache?: string
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly override?: readonly string[]
  readonly budget?: string
  readonly mode?: string
  readonly biasCorrection?: boolean
  readonly maxMemory?: string
  readonly seed?: string
  readonly set?: readonly string[]
  readonly saveRecipe?: string
  readonly report?: string
  readonly threads?: string
  readonly clobber?: boolean
  readonly force?: boolean
  readonly json?: boolean
  readonly quiet?: boolean
}

/** Short names of algorithms on the command line → package and configuration. */
const SHORT: Readonly<Record<string, PluginUse>> = {
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

const list = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

/** `lowbit quantize` */
export function quantizeCommand(program: Command): void {
  const command = program
    .command('quantize')
    .description('make a smaller model from an ONNX model')
    .argument('<model>', 'an .onnx file')
    .option('-o, --output <file>', 'the new model (default: model.int8.onnx beside the model)')
    .option('-w, --weights <type>', 'int8, uint8, int4, uint4, int2, uint2 (default int8)')
    .option('-g, --group <size>', 'weights along K that share a scale (int4 in matmul-nbits: default 32; else one scale a channel)')
    .option('--per-tensor', 'one scale for a whole weight')
    .option('--symmetric', 'no zero points (default for int types)')
    .option('--asymmetric', 'zero points (default for uint types)')
    .option('--reduce-range', 'use half of the code range, safe on x86 without VNNI')
    .option('-f, --format <format>', 'matmul-nbits, dequantize, dynamic, qdq, qoperator (default: int8 with calibration qdq, int8 without dynamic, below 8 bits matmul-nbits)')
    .option('-a, --algorithm <name>', 'best (of gptq in both column orders and rtn, each row what has the least output error), rtn, search (scale of least squared error), hqq, gptq, or a package name (default: below 8 bits with calibration best, else rtn)')
    .option('-t, --transform <names>', 'smoothquant, awq, rotate; several with commas, in order')
    .option('--activations <type>', 'static activations: uint8, int8, uint16, int16 (default for qdq and qoperator uint8)')
    .option('--method <method>', 'static ranges: minmax, percentile, entropy, mse')
    .option('--operators <which>', 'static: default (products with weights, and what lies between them), all (as ONNX Runtime’s own quantizer), or a list such as Conv,MatMul,Add')
    .option('--no-rescue', 'do not look for activations and weights that ruin the model (by default they get 16 bits or stay in float)')
    .option('--percentile <percent>', 'percent of values kept inside, for --method percentile')
    .option('--sample <n>', 'values of each activation that a batch adds to its histogram, or all (default 4096); limits are always those of all')
    .option('-c, --calibration <path>', '.npz, .npy, .safetensors, or a folder of those or of images')
  addDataFlags(command)
    .option('--include <pattern>', 'only sites that match; may be repeated', list)
    .option('-x, --exclude <pattern>', 'leave matching sites in float; may be repeated', list)
    .option('--override <pattern=scheme>', 'other weights for matching sites, such as "*head*=int8" or "a=uint4:16" or "b=float"; may be repeated', list)
    .option('--budget <size>', 'choose among --weights type,type,… and float at each site so that the model fits, such as 2.5MB; needs --calibration')
    .option('--mode <mode>', 'one-pass or sequential (each block sees the quantized ones before it)')
    .option('--bias-correction', 'move the mean output shift of each site into its bias')
    .option('--max-memory <MiB>', 'memory for statistics at any one time (default 512)')
    .option('--seed <n>', 'seed for algorithms that draw random numbers (default 0)')
    .option('--set <key=value>', 'a setting of the backend, such as accuracyLevel=4; may be repeated', list)
    .option('--save-recipe <file>', 'write what these options mean as a recipe for `lowbit run`')
    .option('--calibration-cache <file>', 'keep what calibration finds in this file; later runs on the same model, data and weights make no pass over the data')
    .option('--threads <n>', 'worker threads for calibrated rounding (default: as many as processors, 8 at most)')
    .option('--no-clobber', 'refuse to replace files that are already there')
    .option('--force', 'write the model even if the calibration data shows it to be ruined (below 10 dB)')
    .option('--report <file>', 'write the report: .json, or .html to look at')
    .option('--json', 'print the report as JSON')
    .option('-q, --quiet', 'no progress bar and no notes')
    .addHelpText(
      'after',
      `
Examples:
  $ lowbit quantize model.onnx
      int8 weights and dynamic int8 activations, no data needed
  $ lowbit quantize model.onnx --weights int4 --group 32
      int4 weights in MatMulNBits
  $ lowbit quantize model.onnx -w int4 -c samples.npz -o small.onnx
      int4 with what rounds each row best, calibrated on samples.npz
  $ lowbit quantize model.onnx -c photos/ --image-size 224
      static int8, calibrated on a folder of images
  $ lowbit quantize model.onnx -c photos/ --calibration-cache model.stats --method entropy
      keep the statistics: the next run with another --method or --activations reads them instead of the photos
  $ lowbit quantize model.onnx -c photos/ --operators all --activations uint16
      every operator that takes part elsewhere, with 16-bit activations
  $ lowbit quantize model.onnx -w int4 -x "*lm_head*" --save-recipe recipe.json
      leave one layer in float, keep the settings in a file`,
    )
    .action(async (model: string, flags: QuantizeFlags) => {
      refuseStream('--output', flags.output)
      const folder = flags.saveRecipe === undefined ? process.cwd() : recipeFolder(flags.saveRecipe)
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const recipe = await withBudget(recipeFromFlags(model, flags, folder), model, flags, folder, terminal)
      const { result, output } = await execute(recipe, folder, terminal, executeOptions(flags))
      terminal.print(flags.json === true ? reportJson(result.report).trimEnd() : reportText(result.report, output))
    })
}

/** With `--budget`, the schemes that fit it become overrides: the recipe says what was chosen, not how. */
async function withBudget(recipe: Recipe, model: string, flags: QuantizeFlags, folder: string, terminal: Terminal): Promise<Recipe> {
  if (flags.budget === undefined) return recipe
  const size = parseSize(flags.budget)
  if (recipe.calibration === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--budget', found: 'no calibration data', fix: 'add --calibration: sites are chosen by their output error' })
  const chosen = await budgetOverrides({ model, bytes: size, types: flags.weights ?? 'int4,int8', recipe, calibration: recipe.calibration, folder, terminal })
  // A budget that the float model fits asks for just that.
  return { ...recipe, overrides: [...chosen, ...(recipe.overrides ?? [])], ...(chosen.every((o) => o.weights === null) ? { allowNothing: true } : {}) }
}

/** The recipe that a command line stands for; paths are relative to `folder`. */
export function recipeFromFlags(model: string, flags: QuantizeFlags, folder: string): Recipe {
  // With a budget several types are offered; the first is that of sites the table does not hold, such as embeddings.
  const dtype = (flags.weights ?? (flags.budget === undefined ? 'int8' : 'int4')).split(',')[0]
  const format = flags.format ?? defaultFormat(dtype, flags)
  const weights = forAlgorithm(schemeFromFlags(dtype, format, flags), format, flags)
  // With data, what the tables show to be best below 8 bits; without, plain rounding.
  const algorithm = flags.algorithm ?? (flags.calibration !== undefined && !dtype.endsWith('8') ? 'best' : undefined)
  const needsActivations = format === 'qdq' || format === 'qoperator'
  const recipe = {
    lowbit: 1,
    model: recipePath(model, folder),
    output: recipePath(flags.output ?? defaultOutput({ model: resolve(model), weights }), folder),
    format,
    weights,
    ...(needsActivations || flags.activations !== undefined ? { activations: activationsFromFlags(flags) } : {}),
    ...(algorithm === undefined ? {} : { rounding: own(SHORT, algorithm) ?? algorithm }),
    ...(flags.transform === undefined ? {} : { transforms: flags.transform.split(',').map((t) => own(SHORT, t) ?? t) }),
    ...(flags.override === undefined ? {} : { overrides: flags.override.map(parseOverride) }),
    ...(flags.include === undefined ? {} : { include: flags.include }),
    ...(flags.exclude === undefined ? {} : { exclude: flags.exclude }),
    ...(flags.calibration === undefined ? {} : { calibration: dataJson(recipePath(flags.calibration, folder), flags) }),
    ...(flags.mode === undefined ? {} : { mode: oneOf('--mode', flags.mode, ['one-pass', 'sequential']) }),
    ...(flags.biasCorrection === true ? { biasCorrection: true } : {}),
    ...(flags.maxMemory === undefined ? {} : { maxMemory: wholeNumber('--max-memory', flags.maxMemory) * 2 ** 20 }),
    ...(flags.seed === undefined ? {} : { seed: wholeNumber('--seed', flags.seed, 0) }),
    ...(flags.set === undefined ? {} : { settings: Object.fromEntries(flags.set.map(parseSetting)) }),
  }
  return parseRecipe(recipe)
}

function defaultFormat(dtype: string, flags: QuantizeFlags): string {
  if (!dtype.endsWith('8')) return 'matmul-nbits'
  return flags.calibration === undefined && flags.activations === undefined ? 'dynamic' : 'qdq'
}

function schemeFromFlags(dtype: string, format: string, flags: QuantizeFlags): RecipeScheme {
  if (!isCodeType(dtype)) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: JSON.stringify(dtype), expected: 'int8, uint8, int4, uint4, int2 or uint2' })
  }
  const group = flags.group !== undefined ? wholeNumber('--group', flags.group) : format === 'matmul-nbits' && flags.perTensor !== true ? 32 : undefined
  const symmetric = flags.symmetric === true ? true : flags.asymmetric === true ? false : undefined
  return {
    dtype,
    ...(group === undefined ? {} : { group }),
    ...(flags.perTensor === true ? { perTensor: true } : {}),
    ...(symmetric === undefined ? {} : { symmetric }),
    ...(flags.reduceRange === true ? { reduceRange: true } : {}),
  }
}

/** HQQ moves zero points: signed types become unsigned ones, with float zero points where the format has them. */
function forAlgorithm(scheme: RecipeScheme, format: string, flags: QuantizeFlags): RecipeScheme {
  if (flags.algorithm !== 'hqq' || flags.symmetric === true) return scheme
  const unsigned = `u${scheme.dtype.replace(/^u/, '')}`
  if (!isCodeType(unsigned)) return scheme
  return { ...scheme, dtype: unsigned, symmetric: false, ...(format === 'matmul-nbits' && unsigned !== 'uint8' ? { zeroPoint: 'float' } : {}) }
}

function activationsFromFlags(flags: QuantizeFlags): Json {
  return {
    dtype: oneOf('--activations', flags.activations ?? 'uint8', ['uint8', 'int8', 'uint16', 'int16']),
    ...(flags.method === undefined ? {} : { method: oneOf('--method', flags.method, ['minmax', 'percentile', 'entropy', 'mse']) }),
    ...(flags.rescue === false ? { rescue: false } : {}),
    ...(flags.operators === undefined ? {} : { operators: flags.operators === 'all' || flags.operators === 'default' ? flags.operators : flags.operators.split(',').map((op) => op.trim()) }),
    ...(flags.percentile === undefined ? {} : { percentile: Number(flags.percentile) }),
    ...(flags.sample === undefined ? {} : { sample: flags.sample === 'all' ? 'all' : wholeNumber('--sample', flags.sample, 16) }),
  }
}

/** `*head*=int8`, `a=uint4:16`, `b=float` */
function parseOverride(text: string): { match: string; weights: RecipeScheme | null } {
  const at = text.lastIndexOf('=')
  const [dtype, group] = text.slice(at + 1).split(':')
  if (at < 1 || (dtype !== 'float' && !isCodeType(dtype))) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--override', found: JSON.stringify(text), expected: 'pattern=type or pattern=type:group, such as "*head*=int8", or pattern=float' })
  }
  if (dtype === 'float' || !isCodeType(dtype)) return { match: text.slice(0, at), weights: null }
  return { match: text.slice(0, at), weights: { dtype, ...(group === undefined ? {} : { group: wholeNumber('--override group', group) }) } }
}

function parseSetting(text: string): readonly [string, Json] {
  const at = text.indexOf('=')
  if (at < 1) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--set', found: JSON.stringify(text), expected: 'key=value' })
  const value = text.slice(at + 1)
  try {
    return [text.slice(0, at), parseJsonText(value) as Json]
  } catch (error) {
    if (error instanceof RangeError) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--set', found: error.message, expected: 'a flatter value' })
    return [text.slice(0, at), value]
  }
}
