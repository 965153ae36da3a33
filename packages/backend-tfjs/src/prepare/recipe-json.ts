import type { FakeQuantTarget, Json, TrainingRecipe } from '@lowbit/core'

/** A training recipe as plain data, with the algorithms' versions: what a checkpoint is compared by. */
export function recipeJson(recipe: TrainingRecipe): Json {
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
