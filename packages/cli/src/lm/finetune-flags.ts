import { LORA_OPTIONS } from '@lowbit/algos-lora'
import { ADAPTER_TARGETS, FINE_TUNE_OPTIONS, type AdapterTarget, type FineTuneSettings, type Packing } from '@lowbit/causal-lm/train'
import { SCHEME_OPTIONS, type CodeType } from '@lowbit/core'
import { QUIET_FLAGS, type OutputValues } from '../flags/common.js'
import type { Flag, FlagsOf } from '../flags/flag.js'

/** What weights are trained as. */
export const TRAINED_WEIGHTS = ['int8', 'int4', 'int3', 'int2', 'int2-balanced', 'ternary', 'binary', 'bitnet'] as const
export type TrainedWeights = (typeof TRAINED_WEIGHTS)[number]

/** What a frozen base is kept as. */
export const BASES = ['nf4', 'int4', 'int8'] as const satisfies readonly CodeType[]

/** What `lowbit lm finetune` is told. */
export interface FinetuneValues extends Pick<OutputValues, 'json' | 'quiet'>, Omit<FineTuneSettings, 'beta1' | 'beta2' | 'scaleRate'> {
  readonly output: string
  readonly data: string
  readonly evaluation?: string
  readonly holdout?: number
  readonly separator?: string
  readonly window?: number
  readonly packing?: Packing
  readonly weights?: TrainedWeights
  readonly group?: number
  readonly activations?: 'int8' | 'float32'
  readonly embedding?: 'int8' | 'int4' | 'float'
  readonly estimator?: 'ste' | 'lsq'
  readonly stabilize?: boolean
  readonly start?: number
  readonly distil?: boolean
  readonly lora?: number
  readonly alpha?: number
  readonly loftq?: boolean
  readonly targets?: readonly AdapterTarget[]
  readonly base?: (typeof BASES)[number]
  readonly merge?: 'float' | 'codes'
  readonly layers?: number
  readonly recompute?: number
  readonly logitRows?: number
  readonly saveEvery?: number
  readonly fresh?: boolean
  readonly gguf?: boolean
}

const ROUNDED = { weights: 'given' } as const
const ADAPTED = { lora: 'given' } as const

/** The course of a training, by the names that the library has. */
const setting = <K extends keyof typeof FINE_TUNE_OPTIONS>(flags: string, name: K): Flag => ({ flags, option: FINE_TUNE_OPTIONS[name] })

export const FINETUNE_FLAGS: FlagsOf<FinetuneValues> = {
  output: { flags: '-o, --output <folder>', option: { type: 'text', required: true, about: 'where the model, or the adapter, and the report go; a training that was stopped goes on there' } },
  data: { flags: '-d, --data <file>', option: { type: 'text', required: true, about: 'what is learned: a text, or .jsonl with {"messages": […]} or {"text"} on each line' } },
  evaluation: { flags: '-e, --evaluation <file>', option: { type: 'text', excludes: ['holdout'], otherwise: 'a part of the data', about: 'what the best step is chosen by' } },
  holdout: { flags: '--holdout <share>', option: { type: 'number', minimum: 0, maximum: 0.9, excludes: ['evaluation'], default: 0.05, about: 'share of the windows that is not learned but chosen by' } },
  separator: { flags: '--separator <text>', option: { type: 'text', default: '<|endoftext|>', about: 'what stands between texts' } },
  window: { flags: '--window <tokens>', option: { type: 'integer', minimum: 2, maximum: 2 ** 20, otherwise: '256, or what the model was trained for', about: 'tokens that are read together' } },
  packing: { flags: '--packing <how>', option: { type: 'choice', values: ['packed', 'samples'], otherwise: 'packed', about: 'texts one behind the other, or each in a window of its own' } },
  weights: { flags: '-w, --weights <type>', option: { type: 'choice', values: TRAINED_WEIGHTS, excludes: ['lora'], about: 'what weights are rounded to while they are trained; left out: they stay float' } },
  group: { flags: '-g, --group <size>', option: { ...SCHEME_OPTIONS.group, otherwise: '32; with --base nf4 64', about: 'weights along K that share a scale' } },
  activations: { flags: '-a, --activations <type>', option: { type: 'choice', values: ['int8', 'float32'], default: 'float32', when: ROUNDED, about: 'what inputs of products are rounded to' } },
  embedding: { flags: '--embedding <type>', option: { type: 'choice', values: ['int8', 'int4', 'float'], default: 'float', when: ROUNDED, about: 'the table of tokens, and a head of its own' } },
  estimator: { flags: '--estimator <name>', option: { type: 'choice', values: ['ste', 'lsq'], otherwise: 'ste for int8 and int4, learned scales below', when: ROUNDED, about: 'scales that follow the weights, or learned ones' } },
  stabilize: { flags: '--stabilize', option: { type: 'boolean', when: ROUNDED, about: 'freeze weights that jump between two codes' } },
  start: { flags: '--start <step>', option: { type: 'integer', minimum: 0, default: 0, when: ROUNDED, about: 'update at which rounding begins' } },
  distil: { flags: '--distil', option: { type: 'boolean', when: ROUNDED, about: 'learn the float model’s logits too' } },
  lora: { flags: '--lora <rank>', option: { type: 'integer', minimum: LORA_OPTIONS.rank.minimum, otherwise: 'all weights are trained', about: 'train adapters of this rank beside a frozen base' } },
  alpha: { flags: '--alpha <number>', option: { ...LORA_OPTIONS.alpha, when: ADAPTED } },
  loftq: { flags: '--loftq', option: { type: 'boolean', when: { base: 'given' }, about: 'start as what quantizing the base took away' } },
  targets: { flags: '--targets <names>', option: { type: 'list', of: { type: 'choice', values: ADAPTER_TARGETS }, otherwise: 'all seven', when: ADAPTED, about: `matrices with adapters: ${ADAPTER_TARGETS.join(',')}` } },
  base: { flags: '--base <type>', option: { type: 'choice', values: BASES, otherwise: 'as in the file', when: ADAPTED, about: 'what the frozen weights are kept as' } },
  merge: { flags: '--merge <how>', option: { type: 'choice', values: ['float', 'codes'], when: ADAPTED, about: 'write base and adapter as one model: float32, or the base’s codes with the error that rounding makes; left out: the adapter stays beside its base, which is better than codes' } },
  layers: { flags: '--layers <count>', option: { type: 'integer', minimum: 1, otherwise: 'all', about: 'keep only the first layers' } },
  steps: setting('-s, --steps <count>', 'steps'),
  batch: setting('-b, --batch <windows>', 'batch'),
  accumulate: setting('--accumulate <batches>', 'accumulate'),
  learningRate: { flags: '--learning-rate <number>', option: { type: 'number', minimum: FINE_TUNE_OPTIONS.learningRate.minimum, otherwise: '5e-4, with rounding below 4 bits 1e-3, with adapters 2e-4', about: FINE_TUNE_OPTIONS.learningRate.about } },
  warmup: setting('--warmup <steps>', 'warmup'),
  finalRate: setting('--final-rate <share>', 'finalRate'),
  weightDecay: setting('--weight-decay <number>', 'weightDecay'),
  clip: setting('--clip <norm>', 'clip'),
  seed: setting('--seed <n>', 'seed'),
  evaluateEvery: setting('--evaluate-every <steps>', 'evaluateEvery'),
  patience: setting('--patience <evaluations>', 'patience'),
  recompute: { flags: '--recompute <layers>', option: { type: 'integer', minimum: 1, otherwise: 'nothing is', about: 'layers whose inner values are computed again in the backward pass: less memory, more time' } },
  logitRows: { flags: '--logit-rows <rows>', option: { type: 'integer', minimum: 1, otherwise: 'all', about: 'rows of logits in memory at a time' } },
  saveEvery: { flags: '--save-every <steps>', option: { type: 'integer', minimum: 1, default: 25, about: 'steps after which a stopped training can go on' } },
  fresh: { flags: '--fresh', option: { type: 'boolean', about: 'begin anew where a stopped training lies' } },
  gguf: { flags: '--gguf', option: { type: 'boolean', about: 'write model.gguf too, or adapter.gguf for llama.cpp' } },
  ...QUIET_FLAGS,
}
