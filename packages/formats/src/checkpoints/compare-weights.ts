import { LowbitError } from '@lowbit/core'
import { groupedValues, type GroupedWeight } from './grouped-weight.js'

/** What became of a weight in another format. */
export interface WeightDifference {
  /** Every value is the same number. */
  readonly exact: boolean
  /** Largest difference, and where: row and column of the first such value. */
  readonly largest: number
  readonly row: number
  readonly column: number
  /** Root of the mean squared difference. */
  readonly rms: number
}

/** Compares the values of a weight before and after repacking. @throws LOWBIT_SHAPE if the shapes differ. */
export function compareWeights(before: GroupedWeight, after: GroupedWeight | Float32Array): WeightDifference {
  const [, columns] = before.shape
  const [a, b] = [groupedValues(before), after instanceof Float32Array ? after : groupedValues(after)]
  if (a.length !== b.length || (!(after instanceof Float32Array) && after.shape[1] !== columns)) throw new LowbitError('LOWBIT_SHAPE', { thing: 'repacked weight', found: `${b.length} values`, expected: `[${before.shape.join(', ')}]` })
  let [largest, at, sum, same] = [0, 0, 0, true]
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number))
    if (difference === 0 || (a[i] as number) === (b[i] as number)) continue
    same = false
    sum += difference * difference
    // NaN counts as larger than everything.
    if (!(difference <= largest)) [largest, at] = [difference, i]
  }
  return { exact: same, largest, row: Math.floor(at / columns), column: at % columns, rms: Math.sqrt(sum / Math.max(1, a.length)) }
}
