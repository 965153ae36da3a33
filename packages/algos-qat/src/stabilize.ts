import { resolveOptions, type DeclarationsOf, type FakeQuantTarget, type TrainingAlgorithm, type TrainingRecipe } from '@lowbit/core'
import { DAMPENING_OPTIONS, withDampening, type DampeningOptions } from './dampening.js'
import { OSCILLATION_OPTIONS, withOscillation, type OscillationOptions } from './oscillation.js'

export interface StabilizeOptions {
  /** Tracks weights that jump between two levels, and freezes them unless it says `freeze: false`. `false`: does not even watch. Default: tracks and freezes. */
  readonly oscillation?: OscillationOptions | false
  /** Pulls weights to the middle of their bins. Default `false`. */
  readonly dampening?: DampeningOptions | false
}

/** What {@link stabilize} takes. */
export const STABILIZE_OPTIONS = {
  oscillation: { type: 'either', of: [{ type: 'options', options: OSCILLATION_OPTIONS }, { type: 'choice', values: [false] }], otherwise: 'tracks and freezes', about: 'watches weights that jump between two levels, and freezes them' },
  dampening: { type: 'either', of: [{ type: 'options', options: DAMPENING_OPTIONS }, { type: 'choice', values: [false] }], default: false, about: 'pulls weights to the middle of their bins' },
} as const satisfies DeclarationsOf<StabilizeOptions>

/**
 * The recipe with the remedies of Nagel et al. 2022 on the weights of every layer, overrides included. Layers whose scheme a remedy
 * cannot do stay in float and are named by `prepare`, as everywhere.
 */
export function stabilize(recipe: TrainingRecipe, options: StabilizeOptions = {}): TrainingRecipe {
  const { oscillation = {}, dampening } = resolveOptions<StabilizeOptions, typeof STABILIZE_OPTIONS>(STABILIZE_OPTIONS, options, 'stabilize')
  const wrapped = (algorithm: TrainingAlgorithm): TrainingAlgorithm => {
    const tracked = oscillation === false ? algorithm : withOscillation(algorithm, oscillation)
    return dampening === false ? tracked : withDampening(tracked, dampening)
  }
  const stable = (target: FakeQuantTarget): FakeQuantTarget => ({ ...target, algorithm: wrapped(target.algorithm) })
  return {
    ...recipe,
    ...(recipe.weights === undefined ? {} : { weights: stable(recipe.weights) }),
    ...(recipe.overrides === undefined ? {} : { overrides: recipe.overrides.map((o) => (o.weights === undefined || o.weights === null ? o : { ...o, weights: stable(o.weights) })) }),
  }
}
