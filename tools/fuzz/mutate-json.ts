import { type Dice, FLOATS, NAMES, NUMBERS } from './dice.js'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** A value of JSON with some of its parts changed for others, taken out, or put elsewhere. */
export function mutateJson(value: unknown, dice: Dice, times = 1 + dice.below(3)): unknown {
  const root: { value: Json } = { value: structuredClone(value) as Json }
  for (let i = 0; i < times; i++) {
    const places = placesOf(root.value, dice)
    const { holder, key } = places.length === 0 ? { holder: root, key: 'value' } : dice.pick(places)
    change(holder as Record<string, Json>, key, dice, places)
  }
  return root.value
}

interface Place {
  readonly holder: object
  readonly key: string
}

/** Not all of a large file: a few members of each list. */
function placesOf(value: Json, dice: Dice, depth = 0): Place[] {
  if (typeof value !== 'object' || value === null || depth > 8) return []
  const keys = Object.keys(value)
  const some = keys.length > 24 ? Array.from({ length: 12 }, () => dice.pick(keys)) : keys
  return some.flatMap((key) => [{ holder: value, key }, ...placesOf((value as Record<string, Json>)[key], dice, depth + 1)])
}

function change(holder: Record<string, Json>, key: string, dice: Dice, places: readonly Place[]): void {
  switch (dice.below(8)) {
    case 0: Reflect.deleteProperty(holder, key); break
    case 1: holder[key] = dice.pick<Json>([null, true, false, [], {}, '', 0, -1, 'x', [[]], { a: {} }]); break
    case 2: holder[key] = dice.pick(NUMBERS); break
    case 3: holder[key] = dice.pick(FLOATS.filter((n) => Number.isFinite(n))); break
    case 4: holder[key] = dice.pick([...NAMES, '(a+)+$', '(?<x>', '\\p{L}+', '\uFFFD', '<s>', '▁']); break
    case 5: {
      const other = places.length === 0 ? undefined : dice.pick(places)
      if (other !== undefined) holder[key] = structuredClone((other.holder as Record<string, Json>)[other.key] ?? null)
      break
    }
    case 6: if (Array.isArray(holder)) holder.splice(Number(key), 0, structuredClone(holder[key])); else holder[dice.pick(NAMES)] = structuredClone(holder[key]); break
    default: if (typeof holder[key] === 'string') holder[key] = holder[key].slice(0, dice.below(holder[key].length + 1)) + dice.pick(NAMES); else if (typeof holder[key] === 'number') holder[key] += dice.pick([-1, 1, 0.5, 1e9])
  }
}
