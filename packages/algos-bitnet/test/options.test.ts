import { describe, expect, it } from 'vitest'
import { isLowbitError } from '@lowbit/core'
import { bitnet, bitnetRecipe, bitnetSchedule } from '@lowbit/algos-bitnet'

/** What someone without types may write: where it is refused, and what the message says. */
const WRONG: readonly (readonly [string, () => unknown, RegExp])[] = [
  ['a misspelt key', () => bitnet({ warmUpStep: 10 } as never), /bitnet\(\{ warmUpStep \}\).*did you mean warmupSteps/s],
  ['steps that are text', () => bitnetRecipe({ warmupSteps: '10' } as never), /bitnet\(\{ warmupSteps \}\).*a whole number of at least 0/s],
  ['steps below 0', () => bitnet({ warmupSteps: -1 }), /bitnet\(\{ warmupSteps \}\)/],
  ['a schedule of unknown length', () => bitnetSchedule({} as never), /bitnetSchedule\(\{ steps \}\).*nothing/s],
  ['a misspelt key of the schedule', () => bitnetSchedule({ steps: 10, learningrate: 1e-3 } as never), /did you mean learningRate/],
  ['a split above 1', () => bitnetSchedule({ steps: 10, split: 50 }), /bitnetSchedule\(\{ split \}\).*at most 1/s],
]

describe('options of BitNet', () => {
  it.each(WRONG)('%s is refused', (_, make, message) => {
    let error: unknown
    try {
      make()
    } catch (thrown) {
      error = thrown
    }
    expect(isLowbitError(error, 'LOWBIT_ARGUMENT')).toBe(true)
    expect((error as Error).message).toMatch(message)
  })
})
