import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { statisticObserver, tensor, type HostTensor, type JobStatistics, type StatisticName } from '@lowbit/core'
import { mergeStatistics } from '../src/pipeline/readers.js'

const NAMES = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'gram', 'samples'] as const satisfies readonly StatisticName[]
const ROWS = 5
const K = 3

function statisticsOf(inputs: readonly HostTensor<'float32'>[]): JobStatistics {
  return Object.fromEntries(
    NAMES.map((name) => {
      const observer = statisticObserver(name, { kind: 'linear' }, { rows: 4 })
      for (const x of inputs) observer.observe(x)
      return [name, observer.result()]
    }),
  )
}

describe('statistics of a weight with several readers', () => {
  const input = fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: ROWS * K, maxLength: ROWS * K }).map((v) => tensor('float32', [ROWS, K], Float32Array.from(v)))

  it('are those of all their inputs together', () => {
    fc.assert(
      fc.property(fc.array(input, { minLength: 1, maxLength: 4 }), (inputs) => {
        const merged = mergeStatistics(inputs.map((x) => statisticsOf([x])))
        const together = statisticsOf(inputs)
        for (const name of ['absmax-per-channel', 'mean-abs-per-channel', 'mean'] as const) {
          merged[name]?.data.forEach((v, i) => expect(v).toBeCloseTo(together[name]?.data[i] ?? NaN, 5))
        }
        expect(merged.range).toEqual(together.range)
        expect(merged.gram?.rows).toBe(inputs.length * ROWS)
        merged.gram?.data.forEach((v, i) => expect(v).toBeCloseTo(Number(together.gram?.data[i]), 4))
      }),
    )
  })

  it('keep rows of each reader', () => {
    const of = (value: number): JobStatistics => statisticsOf([tensor('float32', [ROWS, K], new Float32Array(ROWS * K).fill(value))])
    expect([...(mergeStatistics([of(1), of(2)]).samples?.data ?? [])]).toEqual([1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2])
  })
})
