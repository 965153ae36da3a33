import { INTEGER_CODES, TABLE_CODES } from '../scheme.js'

/** The part of JSON Schema (2020-12) that the recipe's schema is written in and `validate` understands. */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null'
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly enum?: readonly (string | number)[]
  readonly minimum?: number
  readonly pattern?: string
  readonly anyOf?: readonly Schema[]
}

const codeTypes = [...Object.keys(INTEGER_CODES), ...Object.keys(TABLE_CODES)]

const scheme: Schema = {
  type: 'object',
  description: 'What the codes of a weight mean',
  properties: {
    dtype: { type: 'string', enum: codeTypes, description: 'Code type' },
    group: { type: 'integer', minimum: 1, description: 'Weights along K that share a scale; absent: one scale an output channel' },
    perTensor: { type: 'boolean', description: 'One scale for the whole weight' },
    symmetric: { type: 'boolean', description: 'No zero points. Default: true for signed types' },
    zeroPoint: { type: 'string', enum: ['integer', 'float'], description: 'float: zero points need not be whole numbers' },
    reduceRange: { type: 'boolean', description: 'Use half of the code range, safe on x86 without VNNI' },
  },
  required: ['dtype'],
  additionalProperties: false,
}

const pluginUse: Schema = {
  description: 'An algorithm: its package name, or the name with a configuration',
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      properties: { use: { type: 'string', description: 'npm package name' }, config: { type: 'object', description: 'Options of that package', additionalProperties: true } },
      required: ['use'],
      additionalProperties: false,
    },
  ],
}

const schemeOrFloat: Schema = { anyOf: [scheme, { type: 'null', description: 'Left in float' }] }

/** JSON Schema of a recipe. Published as `@lowbit/core/recipe.schema.json`. */
export const RECIPE_SCHEMA: Schema = {
  type: 'object',
  description: 'A quantization run that can be committed, pinned and repeated byte for byte',
  properties: {
    $schema: { type: 'string' },
    lowbit: { type: 'integer', enum: [1], description: 'Version of this format' },
    model: { type: 'string', description: 'Path of the model, relative to the recipe' },
    output: { type: 'string', description: 'Path of the artifact, relative to the recipe' },
    format: { type: 'string', description: 'Format to emit, such as matmul-nbits, dequantize, dynamic, qdq, qoperator' },
    weights: scheme,
    activations: {
      type: 'object',
      description: 'Static activations',
      properties: {
        dtype: { type: 'string', enum: ['int8', 'uint8', 'int16', 'uint16'] },
        symmetric: { type: 'boolean' },
        method: { type: 'string', enum: ['minmax', 'percentile', 'entropy', 'mse'] },
        percentile: { type: 'number', minimum: 0 },
        bins: { type: 'integer', minimum: 16 },
        sample: { anyOf: [{ type: 'integer', minimum: 16 }, { type: 'string', enum: ['all'] }], description: 'Values of each tensor that a histogram counts in one batch' },
        rescue: { type: 'boolean', description: 'Give the few activations and weights that ruin the model 16 bits or float. Default true' },
        operators: {
          description: 'Operators with quantized inputs and outputs: default, all, or a list such as ["Conv", "Add"]',
          anyOf: [{ type: 'string', enum: ['default', 'all'] }, { type: 'array', items: { type: 'string' } }],
        },
      },
      required: ['dtype'],
      additionalProperties: false,
    },
    rounding: pluginUse,
    transforms: { type: 'array', items: pluginUse },
    plugins: { type: 'object', description: 'Pinned versions: package name to exact version', additionalProperties: { type: 'string', pattern: '^\\d+\\.\\d+\\.\\d+([-+].*)?$' } },
    overrides: {
      type: 'array',
      items: {
        type: 'object',
        properties: { match: { type: 'string', description: 'Site id; * and ? are wildcards, /…/ a regular expression' }, weights: schemeOrFloat, rounding: pluginUse },
        required: ['match'],
        additionalProperties: false,
      },
    },
    include: { type: 'array', items: { type: 'string' } },
    exclude: { type: 'array', items: { type: 'string' } },
    mode: { type: 'string', enum: ['one-pass', 'sequential'] },
    biasCorrection: { type: 'boolean' },
    calibration: {
      type: 'object',
      description: 'Calibration data, read by the command line',
      properties: { path: { type: 'string' } },
      required: ['path'],
      additionalProperties: true,
    },
    maxMemory: { type: 'integer', minimum: 1048576, description: 'Bytes for statistics at any one time' },
    seed: { type: 'integer', minimum: 0 },
    settings: { type: 'object', description: 'Settings of the backend', additionalProperties: true },
  },
  required: ['lowbit', 'weights'],
  additionalProperties: false,
}
