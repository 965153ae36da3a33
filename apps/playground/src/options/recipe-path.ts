import type { Recipe } from '@lowbit/core'

/** Where in a recipe a value stands. */
export type Path = readonly (string | number)[]

/** The value at a path; undefined where there is none. */
export function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, key) => (typeof at === 'object' && at !== null && Object.hasOwn(at, key) ? (at as Readonly<Record<string | number, unknown>>)[key] : undefined), value)
}

/** A recipe with another value at a path; undefined takes it out, and empty objects with it. */
export function withValue(recipe: Recipe, path: Path, value: unknown): Recipe {
  return changed(recipe, path, value) as Recipe
}

/** As {@link withValue}, of any object. */
export function withValueIn(at: unknown, path: Path, value: unknown): unknown {
  return changed(at, path, value)
}

function changed(at: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value
  if (Array.isArray(at) && typeof key === 'number') {
    const inner = changed(at[key], rest, value)
    const list: readonly unknown[] = inner === undefined ? at.filter((_, i) => i !== key) : at.toSpliced(key, 1, inner)
    return list.length === 0 ? undefined : list
  }
  if (typeof key === 'number') return [changed(undefined, rest, value)]
  const { [key]: before, ...others } = typeof at === 'object' && at !== null ? (at as Readonly<Record<string, unknown>>) : {}
  const inner = changed(before, rest, value)
  if (inner !== undefined) return { ...(typeof at === 'object' && at !== null ? at : {}), [key]: inner }
  return Object.keys(others).length === 0 ? undefined : others
}
