import { InvalidArgumentError, type Command } from 'commander'
import { isCodeType, LowbitError, weightScheme, type Scheme } from '@lowbit/core'
import type { GenerateOptions, OpenCausalLmOptions } from '@lowbit/causal-lm'
import { wholeNumber } from '../flags/whole-number.js'

/** How a model is opened. */
export interface ModelFlags {
  readonly threads?: string
  readonly context?: string
  readonly cache?: string
  readonly activations?: string
  readonly weights?: string
  readonly group?: string
  readonly float?: boolean
}

export function addModelOptions(command: Command): Command {
  return command
    .option('-t, --threads <count>', 'threads (default: half the cores, at most 4)')
    .option('-c, --context <tokens>', 'positions of the cache (default 2048, or what the model has)')
    .option('--cache <type>', 'keys and values as float32, float16 or int8 (default float16)')
    .option('--activations <type>', 'inputs of quantized matrices: int8 a token, or float32 (default int8)')
    .option('-w, --weights <type>', 'quantize a float model while it is read: int8, int4, uint4, nf4 …')
    .option('-g, --group <size>', 'with --weights: weights along K that share a scale (default 32; nf4: 64)')
    .option('--float', 'run in plain TypeScript and float32: slow, for comparison')
}

/** Group that QLoRA's NF4 and everything else is used with. */
const groupOf = (dtype: string): number => (dtype === 'nf4' ? 64 : 32)

/** @throws LOWBIT_ARGUMENT. */
export function openOptions(flags: ModelFlags): OpenCausalLmOptions {
  return {
    ...(flags.threads === undefined ? {} : { threads: wholeNumber('--threads', flags.threads) }),
    ...(flags.context === undefined ? {} : { context: wholeNumber('--context', flags.context) }),
    ...(flags.cache === undefined ? {} : { cache: oneOf('--cache', flags.cache, ['float32', 'float16', 'int8'] as const) }),
    ...(flags.activations === undefined ? {} : { activations: oneOf('--activations', flags.activations, ['int8', 'float32'] as const) }),
    ...(flags.weights === undefined ? {} : { weights: weightsOf(flags.weights, flags.group) }),
    ...(flags.float === true ? { kernels: 'float' as const } : {}),
  }
}

function weightsOf(dtype: string, group: string | undefined): Scheme {
  if (!isCodeType(dtype)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--weights', found: JSON.stringify(dtype), expected: 'int8, uint8, int4, uint4, nf4 …' })
  return weightScheme(dtype, { group: group === undefined ? groupOf(dtype) : wholeNumber('--group', group), symmetric: !dtype.startsWith('uint') })
}

/** How a text is made. */
export interface GenerateFlags {
  readonly maxTokens?: string
  readonly temperature?: string
  readonly topK?: string
  readonly topP?: string
  readonly minP?: string
  readonly repetitionPenalty?: string
  readonly seed?: string
  readonly stop?: readonly string[]
}

export function addGenerateOptions(command: Command): Command {
  return command
    .option('-n, --max-tokens <count>', 'most new tokens (default 256, or what the context leaves)')
    .option('--temperature <number>', '0 takes the likeliest token')
    .option('--top-k <count>', 'only the likeliest so many; 0: all')
    .option('--top-p <share>', 'only the likeliest that together have this probability; 1: all')
    .option('--min-p <share>', 'only those at least this likely, as a share of the likeliest; 0: all')
    .option('--repetition-penalty <factor>', 'make tokens that were there less likely; 1: off')
    .option('--seed <number>', 'the same seed gives the same text')
    .option('--stop <text>', 'end before this text; may be repeated', (text: string, before: readonly string[] = []) => {
      if (text === '') throw new InvalidArgumentError('an empty text would end at once')
      return [...before, text]
    })
}

/** @param usual settings of a command where a flag is left out @throws LOWBIT_ARGUMENT. */
export function generateOptions(flags: GenerateFlags, usual: { readonly temperature: number; readonly topK: number; readonly topP: number }): GenerateOptions {
  return {
    temperature: flags.temperature === undefined ? usual.temperature : number('--temperature', flags.temperature),
    topK: flags.topK === undefined ? usual.topK : wholeNumber('--top-k', flags.topK, 0),
    topP: flags.topP === undefined ? usual.topP : number('--top-p', flags.topP),
    ...(flags.maxTokens === undefined ? {} : { maxTokens: wholeNumber('--max-tokens', flags.maxTokens) }),
    ...(flags.minP === undefined ? {} : { minP: number('--min-p', flags.minP) }),
    ...(flags.repetitionPenalty === undefined ? {} : { repetitionPenalty: number('--repetition-penalty', flags.repetitionPenalty) }),
    ...(flags.seed === undefined ? {} : { seed: wholeNumber('--seed', flags.seed, 0) }),
    ...(flags.stop === undefined ? {} : { stop: flags.stop }),
  }
}

function number(flag: string, text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: 'a number' })
  return value
}

function oneOf<const T extends string>(flag: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text)
  if (found === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: choices.join(', ') })
  return found
}
