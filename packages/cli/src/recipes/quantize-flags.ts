import { ACTIVATION_OPTIONS, RECIPE_SCHEME, SCHEME_OPTIONS, SHARED_OPTIONS, type ActivationParams, type CodeType, type StaticActivations } from '@lowbit/core'
import { DATA_OPTIONS } from '@lowbit/formats/data'
import { dataFlags, type DataValues } from '../flags/data-flags.js'
import { OUTPUT_FLAGS, RUN_FLAGS, type OutputValues, type RunValues } from '../flags/common.js'
import type { FlagsOf } from '../flags/flag.js'

/** Formats that hold static activations. */
export const STATIC_FORMATS = ['qdq', 'qoperator'] as const

/** What `lowbit quantize` is told. */
export interface QuantizeValues extends DataValues, OutputValues, Omit<RunValues, 'allowPlugins'> {
  readonly output?: string
  readonly weights?: readonly CodeType[]
  readonly group?: number
  readonly perTensor?: boolean
  readonly symmetric?: boolean
  readonly asymmetric?: boolean
  readonly reduceRange?: boolean
  readonly format?: string
  readonly algorithm?: string
  readonly transform?: readonly string[]
  readonly activations?: ActivationParams['dtype']
  readonly symmetricActivations?: boolean
  readonly target?: 'tensorrt'
  readonly method?: string
  readonly percentile?: number
  readonly sample?: number | 'all'
  readonly rescue?: boolean
  readonly operators?: NonNullable<StaticActivations['operators']>
  readonly calibration?: string
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly override?: readonly string[]
  readonly budget?: string
  readonly mode?: 'one-pass' | 'sequential'
  readonly biasCorrection?: boolean
  readonly allowNothing?: boolean
  readonly maxMemory?: number
  readonly seed?: number
  readonly set?: readonly string[]
  readonly saveRecipe?: string
}

const WITH_DATA = { calibration: 'given' } as const

const STATIC = { ...WITH_DATA, format: STATIC_FORMATS } as const

/** The flags of `lowbit quantize`: what is an option of `quantize` or of a recipe is declared there. */
export const QUANTIZE_FLAGS: FlagsOf<QuantizeValues> = {
  output: { flags: '-o, --output <file>', option: { type: 'text', otherwise: 'model.int8.onnx beside the model', about: 'the new model' } },
  weights: { flags: '-w, --weights <type>', option: { type: 'list', of: RECIPE_SCHEME.dtype, otherwise: 'int8', about: 'int8, uint8, int4, uint4, int3, int2, …; several with commas for --budget' } },
  group: { flags: '-g, --group <size>', option: { ...SCHEME_OPTIONS.group, otherwise: '32 in matmul-nbits, else one scale a channel' } },
  perTensor: { flags: '--per-tensor', option: SCHEME_OPTIONS.perTensor },
  symmetric: { flags: '--symmetric', option: { ...SCHEME_OPTIONS.symmetric, excludes: ['asymmetric'], otherwise: 'for int types, but not below 8 bits without data' } },
  asymmetric: { flags: '--asymmetric', option: { type: 'boolean', excludes: ['symmetric'], otherwise: 'for uint types, and below 8 bits without data', about: 'zero points' } },
  reduceRange: { flags: '--reduce-range', option: SCHEME_OPTIONS.reduceRange },
  format: {
    flags: '-f, --format <format>',
    option: { type: 'choice', values: ['matmul-nbits', 'dequantize', 'dynamic', ...STATIC_FORMATS], otherwise: 'int8 with calibration qdq, int8 without dynamic, below 8 bits matmul-nbits', about: 'what is written' },
  },
  algorithm: {
    flags: '-a, --algorithm <name>',
    option: {
      type: 'text',
      otherwise: 'below 8 bits with calibration best, without search; else rtn',
      about: 'best (of gptq in both column orders and rtn, each row what has the least output error), rtn, search (scale of least squared error), hqq, gptq, or a package that your package.json lists',
    },
  },
  transform: { flags: '-t, --transform <names>', option: { type: 'list', of: { type: 'text' }, about: 'smoothquant, awq, rotate, or packages that your package.json lists; several with commas, in order' } },
  activations: { flags: '--activations <type>', option: { ...ACTIVATION_OPTIONS.dtype, required: false, when: STATIC, otherwise: 'uint8 for qdq and qoperator' } },
  symmetricActivations: { flags: '--symmetric-activations', option: { ...ACTIVATION_OPTIONS.symmetric, when: STATIC, about: 'zero points of activations in the middle of the codes' } },
  target: { flags: '--target <engine>', option: { type: 'choice', values: ['tensorrt'], when: WITH_DATA, excludes: ['format', 'activations', 'symmetricActivations', 'set'], about: 'what an engine wants: for TensorRT qdq in int8 with zero points 0 and float biases, nothing in 16 bits' } },
  method: {
    flags: '--method <method>',
    option: { type: 'text', default: 'mse', when: STATIC, about: `${ACTIVATION_OPTIONS.method.about}: ${ACTIVATION_OPTIONS.method.values.join(', ')}, or a package that your package.json lists` },
  },
  operators: { flags: '--operators <which>', option: { ...ACTIVATION_OPTIONS.operators, when: STATIC } },
  rescue: { flags: '--no-rescue', option: { type: 'boolean', when: STATIC, about: 'do not look for activations and weights that ruin the model (by default they get 16 bits or stay in float)' } },
  percentile: { flags: '--percentile <percent>', option: { ...ACTIVATION_OPTIONS.percentile, when: { ...STATIC, method: ['percentile'] } } },
  sample: { flags: '--sample <n>', option: { ...ACTIVATION_OPTIONS.sample, when: STATIC } },
  calibration: { flags: '-c, --calibration <path>', option: { ...DATA_OPTIONS.path, required: false } },
  ...dataFlags('calibration'),
  include: { flags: '--include <pattern>', repeat: true, option: { type: 'text', about: SHARED_OPTIONS.include.about } },
  exclude: { flags: '-x, --exclude <pattern>', repeat: true, option: { type: 'text', about: SHARED_OPTIONS.exclude.about } },
  override: { flags: '--override <pattern=scheme>', repeat: true, option: { type: 'text', about: 'other weights for matching sites, such as "*head*=int8" or "a=uint4:16" or "b=float"' } },
  budget: { flags: '--budget <size>', option: { type: 'text', when: WITH_DATA, about: 'choose among --weights type,type,… and float at each site so that the model fits, such as 2.5MB' } },
  mode: { flags: '--mode <mode>', option: { ...SHARED_OPTIONS.mode, when: WITH_DATA } },
  biasCorrection: { flags: '--bias-correction', option: { ...SHARED_OPTIONS.biasCorrection, when: WITH_DATA } },
  allowNothing: { flags: '--allow-nothing', option: SHARED_OPTIONS.allowNothing },
  maxMemory: { flags: '--max-memory <MiB>', option: { type: 'integer', minimum: 1, maximum: 2 ** 24, default: 512, about: 'memory for statistics at any one time' } },
  seed: { flags: '--seed <n>', option: SHARED_OPTIONS.seed },
  set: { flags: '--set <key=value>', repeat: true, option: { type: 'text', about: 'a setting of the format, such as accuracyLevel=4' } },
  saveRecipe: { flags: '--save-recipe <file>', option: { type: 'text', about: 'write what these options mean as a recipe for `lowbit run`' } },
  calibrationCache: { ...RUN_FLAGS.calibrationCache, option: { ...RUN_FLAGS.calibrationCache.option, when: WITH_DATA } },
  threads: RUN_FLAGS.threads,
  force: RUN_FLAGS.force,
  ...OUTPUT_FLAGS,
}
