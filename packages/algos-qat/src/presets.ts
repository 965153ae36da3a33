import type { Scheme, TrainingAlgorithm, TrainingRecipe } from '@lowbit/core'
import { int8, weightScheme } from '@lowbit/core'
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

/** int8 weights per channel, int8 activations with static ranges: what integer runtimes take everywhere. */
export const int8Static = (options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: int8(grouped(options)), algorithm: options.algorithm ?? ste() },
  activations: { scheme: int8PerTensor(), algorithm: ste() },
})

/** int8 dynamic activations, int4 weights in groups (of 32): torchao's recipe for language models. */
export const int8DynamicInt4Weights = (options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: weightScheme('int4', { group: options.group ?? 32 }), algorithm: options.algorithm ?? ste() },
  activations: { scheme: int8PerToken(), algorithm: ste() },
})

/** Weights alone in 8, 4, 3 or 2 bits with learned scales; at 2 bits -2…1: see {@link int2BalancedWeights} for the better levels. */
export const intWeights = (bits: 2 | 3 | 4 | 8, options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: weightScheme(`int${bits}`, grouped(options)), algorithm: options.algorithm ?? lsq() },
})

/** Two-bit weights on the levels ±½, ±1½. */
export const int2BalancedWeights = (options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: weightScheme('int2', grouped(options)), algorithm: options.algorithm ?? balanced() },
})

/** Learned scales for weights and unsigned activations of the same width: W4A4, W2A2. */
export const lowBit = (bits: 2 | 3 | 4, options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: weightScheme(`int${bits}`, grouped(options)), algorithm: options.algorithm ?? lsq() },
  activations: { scheme: unsignedPerTensor(bits), algorithm: lsq() },
})

/** Ternary weights, one scale a channel. */
export const ternaryWeights = (options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: weightScheme('ternary', grouped(options)), algorithm: options.algorithm ?? ternary() },
})

/** Binary weights, one scale a channel. */
export const binaryWeights = (options: PresetOptions = {}): TrainingRecipe => ({
  weights: { scheme: weightScheme('binary', grouped(options)), algorithm: options.algorithm ?? xnor() },
})

const grouped = ({ group }: PresetOptions): { readonly group?: number } => (group === undefined ? {} : { group })
