import type { FakeQuant, FakeQuantSpec, FakeQuantTarget, TrainingLayer, TrainingRecipe } from '../contract/v2/training.js'
import { isLowbitError, LowbitError } from '../errors.js'
import { checkPlugin } from '../plugin.js'
import { nameMatcher } from '../pipeline/match.js'
import { describeScheme, type Granularity, type Scheme } from '../scheme.js'
import { scheduled } from './schedule.js'

/** Fake quantization of one tensor of one layer. */
export interface PlannedFakeQuant {
  /** Axes are those of the layer's matrix as it lies (`NK` or `KN`). */
  readonly spec: FakeQuantSpec
  readonly target: FakeQuantTarget
  readonly fakeQuant: FakeQuant
}

export interface PlannedLayer {
  readonly layer: TrainingLayer
  readonly weight?: PlannedFakeQuant
  readonly activation?: PlannedFakeQuant
}

/** Something that stays in float, and why: for the report. */
export interface FloatPart {
  readonly layer: string
  readonly part: 'weight' | 'activation'
  readonly reason: string
}

export interface TrainingPlan {
  readonly layers: readonly PlannedLayer[]
  readonly float: readonly FloatPart[]
}

/**
 * Which fake quantization goes on which layer. A layer that an algorithm refuses stays in float and is named.
 *
 * @param skipped layers the backend does not know how to prepare, for the list of what stays in float.
 * @throws LOWBIT_NOT_FOUND for an override that matches no layer, LOWBIT_API_VERSION or LOWBIT_PLUGIN for a wrong algorithm.
 */
export function planTraining(layers: readonly TrainingLayer[], recipe: TrainingRecipe, skipped: readonly { readonly id: string; readonly reason: string }[] = []): TrainingPlan {
  const overrides = (recipe.overrides ?? []).map((override) => ({ override, matches: nameMatcher(override.match) }))
  for (const { override, matches } of overrides) {
    if (!layers.some(({ id }) => matches(id)) && !skipped.some(({ id }) => matches(id))) {
      throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `override '${override.match}'`, found: 'no layer of that name', expected: `one of ${layers.map(({ id }) => id).join(', ')}` })
    }
  }
  const float: FloatPart[] = []
  const planned = layers.map((layer): PlannedLayer => {
    const asked = { weights: recipe.weights ?? null, activations: recipe.activations ?? null }
    for (const { override, matches } of overrides) {
      if (!matches(layer.id)) continue
      if (override.weights !== undefined) asked.weights = override.weights
      if (override.activations !== undefined) asked.activations = override.activations
    }
    const weight = attempt(asked.weights, 'weight', layer, recipe, float)
    // A recipe for weights alone does not mean activations: they are named only where something asked for them.
    const activation = recipe.activations === undefined && asked.activations === null ? undefined : attempt(asked.activations, 'activation', layer, recipe, float)
    return { layer, ...(weight === undefined ? {} : { weight }), ...(activation === undefined ? {} : { activation }) }
  })
  return { layers: planned, float: [...float, ...skipped.map(({ id, reason }): FloatPart => ({ layer: id, part: 'weight', reason }))] }
}

function attempt(target: FakeQuantTarget | null, part: 'weight' | 'activation', layer: TrainingLayer, recipe: TrainingRecipe, float: FloatPart[]): PlannedFakeQuant | undefined {
  const leave = (reason: string): undefined => {
    float.push({ layer: layer.id, part, reason })
    return undefined
  }
  if (target === null) return leave('the recipe leaves it in float')
  const algorithm = checkPlugin(target.algorithm, 'training')
  const shape = part === 'activation' ? layer.input : layer.orientation === 'NK' ? [layer.rows, layer.columns] : [layer.columns, layer.rows]
  if (shape === undefined) return leave(`${layer.op} reads indices, not values`)
  const scheme = part === 'activation' ? target.scheme : orient(target.scheme, layer.orientation)
  const spec: FakeQuantSpec = { scheme, shape, role: part }
  try {
    return { spec, target, fakeQuant: scheduled(algorithm.fakeQuant(spec), part, recipe) }
  } catch (error) {
    if (!isLowbitError(error, 'LOWBIT_UNSUPPORTED')) throw error
    return leave(`${algorithm.name} cannot do ${describeScheme(target.scheme)} here: ${error.message}`)
  }
}

/** A scheme for `[N, K]` on a matrix that lies as `[K, N]`, and back. */
export function orient(scheme: Scheme, orientation: TrainingLayer['orientation']): Scheme {
  const g = scheme.granularity
  if (orientation === 'NK' || g.kind === 'tensor' || g.kind === 'token') return scheme
  const granularity: Granularity = { ...g, axis: 1 - g.axis }
  return { ...scheme, granularity }
}
