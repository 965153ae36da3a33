import { bitnetRecipe } from '@lowbit/algos-bitnet'
import { int2BalancedWeights, int8PerToken, intWeights, lsq, stabilize, ste, ternaryWeights, binaryWeights } from '@lowbit/algos-qat'
import { lora } from '@lowbit/algos-lora'
import type { AdapterOptions } from '@lowbit/causal-lm/train'
import { LowbitError, weightScheme, type FakeQuantTarget, type TrainingRecipe } from '@lowbit/core'
import type { FinetuneValues, TrainedWeights } from './finetune-flags.js'

const GROUP = 32
/** QLoRA's. */
const NF4_GROUP = 64

/** What rounding the flags ask for; undefined: none. @throws LOWBIT_ARGUMENT for a combination that is none */
export function trainingRecipe(values: FinetuneValues, tied: boolean): TrainingRecipe | undefined {
  const { weights, embedding = 'float', start } = values
  if (weights === undefined) return undefined
  const base = weights === 'bitnet' ? bitnet(values) : { ...weightsRecipe(weights, values), ...(values.activations === 'int8' ? { activations: { scheme: int8PerToken(), algorithm: ste() } } : {}) }
  const recipe = values.stabilize === true ? stabilize(base) : base
  const table: FakeQuantTarget | null = embedding === 'float' ? null : { scheme: weightScheme(embedding, { group: GROUP }), algorithm: ste() }
  const ends = table === null ? [] : (tied ? ['embed'] : ['embed', 'head']).map((match) => ({ match, weights: table, ...(values.activations === 'int8' && recipe.activations !== undefined ? { activations: recipe.activations } : {}) }))
  return { ...recipe, overrides: ends, ...(start === undefined ? {} : { start }) }
}

function bitnet({ group, activations }: FinetuneValues): TrainingRecipe {
  if (group !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--group', found: String(group), expected: 'none with --weights bitnet: it has one scale a matrix', fix: 'take --weights ternary' })
  if (activations === 'float32') throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--activations', found: 'float32', expected: 'int8 with --weights bitnet' })
  return bitnetRecipe()
}

function weightsRecipe(weights: Exclude<TrainedWeights, 'bitnet'>, { group = GROUP, estimator }: FinetuneValues): TrainingRecipe {
  const algorithm = estimator === undefined ? undefined : estimator === 'lsq' ? lsq() : ste()
  const options = { group, ...(algorithm === undefined ? {} : { algorithm }) }
  switch (weights) {
    case 'int8': return intWeights(8, { algorithm: ste(), ...options })
    case 'int4': return intWeights(4, { algorithm: ste(), ...options })
    case 'int3': return intWeights(3, options)
    case 'int2': return intWeights(2, options)
    case 'int2-balanced': return int2BalancedWeights({ group })
    case 'ternary': return ternaryWeights({ group, algorithm: lsq(), ...(algorithm === undefined ? {} : { algorithm }) })
    case 'binary': return binaryWeights({ group })
  }
}

/** The adapter that the flags ask for; undefined: weights are trained. */
export function adapterOptions({ lora: rank, alpha, loftq, targets, base, group }: FinetuneValues): AdapterOptions | undefined {
  if (rank === undefined) return undefined
  return {
    algorithm: lora({ rank, ...(alpha === undefined ? {} : { alpha }), ...(loftq === true ? { start: 'loftq' } : {}) }),
    ...(targets === undefined ? {} : { targets }),
    ...(base === undefined ? {} : { base: weightScheme(base, { group: group ?? (base === 'nf4' ? NF4_GROUP : GROUP) }) }),
  }
}

/** A learning rate for those who name none: what fewer bits can bear, and adapters. */
export function usualRate({ lora: rank, weights }: FinetuneValues): number {
  if (rank !== undefined) return 2e-4
  return weights === undefined || weights === 'int8' || weights === 'int4' ? 5e-4 : 1e-3
}
