import type { Json } from '../contract/v2/plugin.js'
import type { FakeQuantTarget, TrainingRecipe } from '../contract/v2/training.js'

/** A training recipe as plain data, with the algorithms' versions: what a checkpoint is compared by. */
export function trainingRecipeJson(recipe: TrainingRecipe): Json {
  return plain({
    weights: targetJson(recipe.weights),
    activations: targetJson(recipe.activations),
    overrides: (recipe.overrides ?? []).map(({ match, weights, activations }) => plain({ match, weights: targetJson(weights), activations: targetJson(activations) })),
    start: recipe.start ?? 0,
    freezeObservers: recipe.freezeObservers,
    batchNorm: recipe.batchNorm ?? 'running',
    freezeBatchNorm: recipe.freezeBatchNorm,
  })
}

function targetJson(target: FakeQuantTarget | null | undefined): Json | undefined {
  if (target === undefined || target === null) return target
  const { scheme, algorithm } = target
  return { scheme: plain({ ...scheme, granularity: { ...scheme.granularity } }), algorithm: `${algorithm.name}@${algorithm.version}`, config: algorithm.config }
}

function plain(value: Readonly<Record<string, Json | undefined>>): { readonly [key: string]: Json } {
  const out: Record<string, Json> = {}
  for (const [key, v] of Object.entries(value)) if (v !== undefined) out[key] = v
  return out
}

/** Where two recipes differ first, or undefined. */
export function recipeDifference(a: Json | undefined, b: Json | undefined, at = 'recipe'): string | undefined {
  if (typeof a === 'object' && a !== null && typeof b === 'object' && b !== null && Array.isArray(a) === Array.isArray(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const found = recipeDifference(Reflect.get(a, key) as Json | undefined, Reflect.get(b, key) as Json | undefined, `${at}.${key}`)
      if (found !== undefined) return found
    }
    return undefined
  }
  return a === b ? undefined : `${at} is ${JSON.stringify(a) ?? 'absent'} there and ${JSON.stringify(b) ?? 'absent'} here`
}
