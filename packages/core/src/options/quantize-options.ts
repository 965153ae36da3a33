import type { ActivationParams } from '../contract/v2/host.js'
import type { Override, QuantizeOptions, StaticActivations } from '../pipeline/options.js'
import type { Declarations, DeclarationsOf, ValueType } from './declaration.js'

const ACTIVATION_TYPES = ['int8', 'uint8', 'int16', 'uint16'] as const

const PATTERN: ValueType = { type: 'text' }

/** Methods that look at a histogram, and so at its bins. */
const HISTOGRAM_METHODS = ['percentile', 'entropy', 'mse'] as const

/** `activations` of `quantize` and of a recipe. */
export const ACTIVATION_OPTIONS = {
  dtype: { type: 'choice', values: ACTIVATION_TYPES, required: true, about: 'type of static activations' },
  symmetric: { type: 'boolean', default: false, about: 'zero points in the middle of the codes' },
  method: { type: 'choice', values: ['minmax', 'moving-average', ...HISTOGRAM_METHODS], default: 'mse', excludes: ['observer'], about: 'how a range is taken from what was seen' },
  observer: { type: 'plugin', kind: 'observer', excludes: ['method'], about: 'what takes the range, in place of a method' },
  percentile: { type: 'number', above: 0, maximum: 100, default: 99.999, when: { method: ['percentile'] }, about: 'percent of the values kept inside the range' },
  bins: { type: 'integer', minimum: 16, maximum: 65536, multipleOf: 2, default: 8192, when: { method: HISTOGRAM_METHODS }, about: 'bins of the histogram that ranges are taken from' },
  sample: {
    type: 'either',
    of: [{ type: 'integer', minimum: 16, maximum: 2 ** 31 }, { type: 'choice', values: ['all'] }],
    default: 4096,
    when: { method: HISTOGRAM_METHODS },
    about: 'values of each activation that a batch adds to its histogram, or all; limits are always those of all',
  },
  rescue: { type: 'boolean', default: true, about: 'give the few activations and weights that ruin the model 16 bits or float' },
  operators: {
    type: 'either',
    of: [{ type: 'choice', values: ['default', 'all'] }, { type: 'list', of: { type: 'text' } }],
    default: 'default',
    about: 'operators with quantized inputs and outputs: default (products with weights, and what lies between them), all (as ONNX Runtime’s own quantizer), or a list such as Conv,MatMul,Add',
  },
} as const satisfies DeclarationsOf<StaticActivations>

const ACTIVATION_PARAMS = {
  dtype: { type: 'choice', values: ACTIVATION_TYPES, required: true, about: 'type of the activation' },
  scale: { type: 'number', above: 0, required: true, about: 'step' },
  zeroPoint: { type: 'integer', required: true, about: 'code of zero' },
} as const satisfies DeclarationsOf<ActivationParams>

/** What an override may decide in the API and in a recipe. */
export const OVERRIDE_OPTIONS = {
  match: { type: 'text', required: true, about: 'site id; * and ? are wildcards, /…/ a regular expression' },
  weights: { type: 'either', of: [{ type: 'scheme' }, { type: 'null' }], about: 'scheme of the weights, null for float' },
  rounding: { type: 'plugin', kind: 'rounding', about: 'algorithm that makes the codes' },
} as const satisfies Declarations

/** Options that a recipe and `quantize` share. */
export const SHARED_OPTIONS = {
  format: { type: 'text', otherwise: 'the host’s first', about: 'format to emit, such as matmul-nbits, dequantize, dynamic, qdq, qoperator' },
  weights: { type: 'scheme', required: true, about: 'scheme of the weights' },
  activations: { type: 'options', options: ACTIVATION_OPTIONS, about: 'static activations; their ranges come from calibration data' },
  rounding: { type: 'plugin', kind: 'rounding', otherwise: 'round to nearest', about: 'algorithm that makes the codes' },
  transforms: { type: 'list', of: { type: 'plugin', kind: 'transform' }, about: 'changes of the float model before it is rounded, in this order' },
  include: { type: 'list', of: PATTERN, otherwise: 'all', about: 'only sites that match' },
  exclude: { type: 'list', of: PATTERN, about: 'sites left in float' },
  mode: { type: 'choice', values: ['one-pass', 'sequential'], default: 'one-pass', about: 'sequential: each block sees the quantized ones before it; as many passes over the data as blocks' },
  biasCorrection: { type: 'boolean', default: false, about: 'move the mean output shift of each site into its bias' },
  allowNothing: { type: 'boolean', default: false, about: 'write a model in which nothing was quantized, instead of failing' },
  maxMemory: { type: 'integer', minimum: 2 ** 20, default: 512 * 2 ** 20, about: 'bytes for statistics at any one time' },
  seed: { type: 'integer', minimum: 0, default: 0, about: 'seed for algorithms that draw random numbers' },
  settings: { type: 'record', of: { type: 'json' }, about: 'settings of the host for a format' },
} as const satisfies Declarations

/** Everything that `quantize` takes: the one table behind its checks, recipes, their schema and the command's help. */
export const QUANTIZE_OPTIONS = {
  ...SHARED_OPTIONS,
  overrides: {
    type: 'list',
    of: {
      type: 'options',
      options: {
        ...OVERRIDE_OPTIONS,
        activation: { type: 'either', of: [{ type: 'options', options: ACTIVATION_PARAMS }, { type: 'null' }], when: { activations: 'given' }, about: 'parameters of an activation, null for float' },
      } satisfies DeclarationsOf<Override>,
    },
    about: 'other decisions for the sites and activations that match; later ones win',
  },
  calibration: { type: 'object', has: [], about: 'batches for statistics: an iterable, iterated anew for each pass' },
  calibrationCache: { type: 'object', has: ['identity', 'get', 'set', 'save'], when: { calibration: 'given' }, about: 'keeps statistics between runs' },
  mode: { ...SHARED_OPTIONS.mode, when: { calibration: 'given' } },
  // A program may know better than a recipe; what is too small is taken a site at a time.
  maxMemory: { ...SHARED_OPTIONS.maxMemory, minimum: 1 },
  linalg: { type: 'object', has: [], about: 'linear algebra to compute with' },
  jobs: { type: 'object', has: ['load', 'save'], about: 'keeps sites that are done, so that a killed run goes on where it stopped' },
  runner: { type: 'object', has: ['run', 'concurrency'], about: 'runs rounding jobs somewhere else' },
  signal: { type: 'object', has: ['aborted', 'addEventListener'], about: 'stops the work' },
  onProgress: { type: 'function', about: 'told how far the work is' },
} as const satisfies DeclarationsOf<QuantizeOptions>
