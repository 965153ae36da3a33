import { LowbitError } from '../errors.js'

/** One way to store a layer. */
export interface Choice {
  /** Damage, in any unit that adds up over layers. */
  readonly cost: number
  /** Whole units (bytes or bits). */
  readonly size: number
}

export interface Allocation {
  /** Index of the choice taken, a layer each. */
  readonly choices: readonly number[]
  readonly cost: number
  readonly size: number
}

/** States kept at once: beyond this the table of sizes would not fit in memory. */
const MAX_STATES = 4_000_000

/**
 * The least total cost within a size budget, exactly: dynamic programming over the sizes that can be reached, keeping for each only
 * the cheapest way there, and no way that is both larger and dearer than another (integer programming as in HAWQ-V3, Yao et al. 2021).
 * A greedy answer, as some tools give, can be far from it.
 * @throws LOWBIT_ARGUMENT if nothing fits, with the least size that would; LOWBIT_LIMIT if the sizes have too many sums.
 */
export function cheapestChoices(layers: readonly (readonly Choice[])[], budget: number): Allocation {
  checkChoices(layers)
  const least = layers.reduce((sum, choices) => sum + Math.min(...choices.map((c) => c.size)), 0)
  if (!(budget >= least)) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'size budget', found: `${budget}`, expected: `at least ${least}, the smallest choice of every layer`, fix: 'raise the budget or allow fewer bits' })
  }
  // What the layers still to come need at least: a state that leaves less is dropped.
  const rest = new Array<number>(layers.length + 1).fill(0)
  for (let l = layers.length - 1; l >= 0; l--) rest[l] = rest[l + 1] + Math.min(...layers[l].map((c) => c.size))

  const stages: Frontier[] = []
  let front: Frontier = { size: [0], cost: [0], from: [-1], choice: [-1] }
  let states = 0
  for (const [l, choices] of layers.entries()) {
    front = extend(front, choices, budget - rest[l + 1])
    stages.push(front)
    states += front.size.length
    if (states > MAX_STATES) throw new LowbitError('LOWBIT_LIMIT', { thing: 'bit allocation', found: `more than ${MAX_STATES} different sizes after ${l + 1} layers`, expected: 'fewer', fix: 'round sizes to a coarser unit' })
  }
  const last = front.size.length - 1
  const choices = new Array<number>(layers.length)
  for (let l = layers.length - 1, at = last; l >= 0; l--) {
    choices[l] = stages[l].choice[at]
    at = stages[l].from[at]
  }
  return { choices, cost: front.cost[last], size: front.size[last] }
}

/** States by rising size and falling cost. */
interface Frontier {
  readonly size: number[]
  readonly cost: number[]
  /** Index of the state before, and the choice that led here. */
  readonly from: number[]
  readonly choice: number[]
}

function extend(front: Frontier, choices: readonly Choice[], limit: number): Frontier {
  const at = choices.map(() => 0)
  const next: Frontier = { size: [], cost: [], from: [], choice: [] }
  let cheapest = Infinity
  // A merge of one sorted list a choice: by size, the cheaper first where sizes are equal.
  for (;;) {
    let pick = -1
    for (let c = 0; c < choices.length; c++) {
      if (at[c] === front.size.length) continue
      if (pick < 0) {
        pick = c
        continue
      }
      const gap = front.size[at[c]] + choices[c].size - front.size[at[pick]] - choices[pick].size
      if (gap < 0 || (gap === 0 && front.cost[at[c]] + choices[c].cost < front.cost[at[pick]] + choices[pick].cost)) pick = c
    }
    if (pick < 0) return next
    const size = front.size[at[pick]] + choices[pick].size
    if (size > limit) return next
    const cost = front.cost[at[pick]] + choices[pick].cost
    if (cost < cheapest) {
      cheapest = cost
      next.size.push(size)
      next.cost.push(cost)
      next.from.push(at[pick])
      next.choice.push(pick)
    }
    at[pick]++
  }
}

function checkChoices(layers: readonly (readonly Choice[])[]): void {
  layers.forEach((choices, l) => {
    const bad = choices.find((c) => !Number.isFinite(c.cost) || !Number.isSafeInteger(c.size) || c.size < 0)
    if (choices.length === 0 || bad !== undefined) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: `layer ${l} of the allocation`, found: bad === undefined ? 'no choice' : `cost ${bad.cost}, size ${bad.size}`, expected: 'choices with a finite cost and a whole, non-negative size' })
    }
  })
}
