import type { DeclarationsOf, Scheme, TrainingAlgorithm, TrainingRecipe } from '@lowbit/core'
import { int8, resolveOptions, weightScheme } from '@lowbit/core'
import { balanced } from './balanced.js'
import { lsq } from './lsq.js'
import { ste } from './ste.js'
import { ternary } from './ternary.js'
import { xnor } from './xnor.js'

/** int8 activations whose scale and zero point are found at run time for each row. */
export const int8PerToken = (): Scheme => ({ dtype: 'int8', granularity: { kind: 'token' }, symmetric: false })

/** int8 activations with one observed range. */
export const int8PerTensor = (): Scheme => ({ dtype: 'int8', granularity: { kind: 'tensor' }, symmetric: false })

/** Unsigned activations with one learned scale: for what follows a ReLU or lies in [0, 1]. */
export const unsignedPerTensor = (bits: 2 | 3 | 4 | 8): Scheme => ({ dtype: `uint${bits}`, granularity: { kind: 'tensor' }, symmetric: true })

export interface PresetOptions {
  /** Estimator of the weights. */
  readonly algorithm?: TrainingAlgorithm
  /** Group size along K; absent: one scale an output channel. */
  readonly group?: number
}

/** What every recipe here takes. */
export const PRESET_OPTIONS = {
  algorithm: { type: 'plugin', kind: 'training', otherwise: 'what suits the recipe', about: 'estimator of the weights' },
  group: { type: 'integer', minimum: 1, about: 'group size along K' },
} as const satisfies DeclarationsOf<PresetOptions>

/** int8 weights per channel, int8 activations with static ranges: what integer runtimes take everywhere. */
export const int8Static = (options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'int8Static')
  return {
    weights: { scheme: int8(grouped(given)), algorithm: given.algorithm ?? ste() },
    activations: { scheme: int8PerTensor(), algorithm: ste() },
  }
}

/** int8 dynamic activations, int4 weights in groups (of 32): torchao's recipe for language models. */
export const int8DynamicInt4Weights = (options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'int8DynamicInt4Weights')
  return {
    weights: { scheme: weightScheme('int4', { group: given.group ?? 32 }), algorithm: given.algorithm ?? ste() },
    activations: { scheme: int8PerToken(), algorithm: ste() },
  }
}

/** Weights alone in 8, 4, 3 or 2 bits with learned scales; at 2 bits -2…1: see {@link int2BalancedWeights} for the better levels. */
export const intWeights = (bits: 2 | 3 | 4 | 8, options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'intWeights')
  return {
    weights: { scheme: weightScheme(`int${bits}`, grouped(given)), algorithm: given.algorithm ?? lsq() },
  }
}

/** Two-bit weights on the levels ±½, ±1½. */
export const int2BalancedWeights = (options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'int2BalancedWeights')
  return {
    weights: { scheme: weightScheme('int2', grouped(given)), algorithm: given.algorithm ?? balanced() },
  }
}

/** Learned scales for weights and unsigned activations of the same width: W4A4, W2A2. */
export const lowBit = (bits: 2 | 3 | 4, options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'lowBit')
  return {
    weights: { scheme: weightScheme(`int${bits}`, grouped(given)), algorithm: given.algorithm ?? lsq() },
    activations: { scheme: unsignedPerTensor(bits), algorithm: lsq() },
  }
}

/** Ternary weights, one scale a channel. */
export const ternaryWeights = (options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'ternaryWeights')
  return {
    weights: { scheme: weightScheme('ternary', grouped(given)), algorithm: given.algorithm ?? ternary() },
  }
}

/** Binary weights, one scale a channel. */
export const binaryWeights = (options: PresetOptions = {}): TrainingRecipe => {
  const given = presetOptions(options, 'binaryWeights')
  return {
    weights: { scheme: weightScheme('binary', grouped(given)), algorithm: given.algorithm ?? xnor() },
  }
}

/** @throws LOWBIT_ARGUMENT naming the option */
const presetOptions = (options: PresetOptions, recipe: string): PresetOptions => resolveOptions<PresetOptions, typeof PRESET_OPTIONS>(PRESET_OPTIONS, options, recipe)

const grouped = ({ group }: PresetOptions): { readonly group?: number } => (group === undefined ? {} : { group })
