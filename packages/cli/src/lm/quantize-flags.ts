import { SCHEME_OPTIONS, SHARED_OPTIONS, type CodeType } from '@lowbit/core'
import { OUTPUT_FLAGS, RUN_FLAGS, type OutputValues, type RunValues } from '../flags/common.js'
import type { FlagsOf } from '../flags/flag.js'

/** What `lowbit lm quantize` is told. */
export interface QuantizeLmValues extends OutputValues, Omit<RunValues, 'allowPlugins' | 'calibrationCache'> {
  readonly output: string
  readonly to?: string
  readonly weights?: CodeType | KQuant
  readonly group?: number
  readonly perTensor?: boolean
  readonly symmetric?: boolean
  readonly asymmetric?: boolean
  readonly embedding?: CodeType | 'float'
  readonly algorithm?: string
  readonly transform?: readonly string[]
  readonly calibration?: string
  readonly window?: number
  readonly tokens?: number
  readonly mode?: 'one-pass' | 'sequential'
  readonly biasCorrection?: boolean
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly override?: readonly string[]
  readonly maxMemory?: number
  readonly seed?: number
  readonly set?: readonly string[]
}

/** K-quants that codes are found on the two-level scales of. */
export const K_QUANTS = ['q4_k', 'q3_k', 'q2_k'] as const

export type KQuant = (typeof K_QUANTS)[number]

const WITH_DATA = { calibration: 'given' } as const

/** Tokens of text that scales and codes are found with, where the text has them. */
export const CALIBRATION_TOKENS = 16_384

export const QUANTIZE_LM_FLAGS: FlagsOf<QuantizeLmValues> = {
  output: { flags: '-o, --output <path>', option: { type: 'text', required: true, about: 'the new model: a .gguf file, or a folder' } },
  to: { flags: '--to <format>', option: { type: 'choice', values: ['gguf', 'onnx', 'huggingface'], otherwise: 'gguf for a name that ends with .gguf, huggingface for one that ends with /', about: 'what is written: a file for llama.cpp, a folder for transformers.js and ONNX Runtime, or one for transformers and vLLM (the packing of GPTQ tools)' } },
  weights: { flags: '-w, --weights <type>', option: { type: 'text', default: 'int4', about: 'int8, int4, uint4, int3, int2, …; in GGUF also q4_k, q3_k, q2_k: codes found on the two-level scales of llama.cpp’s K-quants' } },
  group: { flags: '-g, --group <size>', option: { ...SCHEME_OPTIONS.group, otherwise: '32' } },
  perTensor: { flags: '--per-tensor', option: SCHEME_OPTIONS.perTensor },
  symmetric: { flags: '--symmetric', option: { ...SCHEME_OPTIONS.symmetric, excludes: ['asymmetric'], otherwise: 'for int types' } },
  asymmetric: { flags: '--asymmetric', option: { type: 'boolean', excludes: ['symmetric'], otherwise: 'for uint types', about: 'zero points' } },
  embedding: { flags: '--embedding <type>', option: { type: 'text', default: 'int8', about: 'type of the embedding and the head, in groups of 32, or float' } },
  algorithm: {
    flags: '-a, --algorithm <name>',
    option: { type: 'text', otherwise: 'with a text best, without one search', about: 'best (of gptq in both column orders and rtn, each row what has the least output error), rtn, search (scale of least squared error), hqq, gptq, or a package that your package.json lists' },
  },
  transform: { flags: '-t, --transform <names>', option: { type: 'list', of: { type: 'text' }, about: 'smoothquant, awq, rotate, or packages that your package.json lists; several with commas, in order' } },
  calibration: { flags: '-c, --calibration <file>', option: { type: 'text', about: 'a text like those that the model will see' } },
  window: { flags: '--window <tokens>', option: { type: 'integer', minimum: 2, maximum: 2 ** 20, when: WITH_DATA, otherwise: '512, or what the model was trained for', about: 'tokens that are read together' } },
  tokens: { flags: '--tokens <count>', option: { type: 'integer', minimum: 2, maximum: 2 ** 30, default: CALIBRATION_TOKENS, when: WITH_DATA, about: 'tokens of the text that are used' } },
  mode: { flags: '--mode <mode>', option: { ...SHARED_OPTIONS.mode, default: 'sequential', when: WITH_DATA } },
  biasCorrection: { flags: '--bias-correction', option: { ...SHARED_OPTIONS.biasCorrection, when: WITH_DATA } },
  include: { flags: '--include <pattern>', repeat: true, option: { type: 'text', about: SHARED_OPTIONS.include.about } },
  exclude: { flags: '-x, --exclude <pattern>', repeat: true, option: { type: 'text', about: SHARED_OPTIONS.exclude.about } },
  override: { flags: '--override <pattern=scheme>', repeat: true, option: { type: 'text', about: 'other weights for matching matrices, such as "*.down=int8" or "layers.0.*=float"' } },
  maxMemory: { flags: '--max-memory <MiB>', option: { type: 'integer', minimum: 1, maximum: 2 ** 24, default: 512, about: 'memory for statistics at any one time' } },
  seed: { flags: '--seed <n>', option: SHARED_OPTIONS.seed },
  set: { flags: '--set <key=value>', repeat: true, option: { type: 'text', about: 'a setting of the format, such as attention=plain or accuracyLevel=0' } },
  threads: { ...RUN_FLAGS.threads, option: { ...RUN_FLAGS.threads.option, about: 'threads of the kernels, and workers for calibrated rounding' } },
  force: { ...RUN_FLAGS.force, option: { ...RUN_FLAGS.force.option, about: 'write the model even if noise in its logits is louder than they are' } },
  ...OUTPUT_FLAGS,
}
