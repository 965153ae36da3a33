import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dequantize, difference, fastLinAlg, rtn, tensor, weightScheme, wholly, type CodeType } from '@lowbit/core'
import { weightError } from '../src/pipeline/weight-error.js'

describe('weightError', () => {
  it('in blocks of rows is what the whole gives', async () => {
    const arbitrary = fc.record({
      rows: fc.integer({ min: 1, max: 700 }),
      columns: fc.constantFrom(1, 7, 33, 1024),
      dtype: fc.constantFrom<CodeType>('int8', 'uint4', 'ternary'),
      group: fc.constantFrom(undefined, 16),
      perTensor: fc.boolean(),
      seed: fc.integer({ min: 1, max: 1e6 }),
    })
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ rows, columns, dtype, group, perTensor, seed }) => {
        const scheme = weightScheme(dtype, { symmetric: !dtype.startsWith('u'), ...(group === undefined ? { perTensor } : { group }) })
        const data = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * seed) * (1 + (i % 13)))
        const site = { id: 'w', kind: 'linear', weight: { rows, columns, groups: 1, columnsPerChannel: 1 } } as const
        const { q } = await rtn().round({ site, weight: tensor('float32', [rows, columns], data), scheme, statistics: {}, linalg: fastLinAlg, seed: 0 })
        const whole = difference(data, dequantize(q).data)
        const blocks = wholly(weightError(data, q))
        expect(blocks.count).toBe(whole.count)
        expect(blocks.maxError).toBe(whole.maxError)
        expect(blocks.sqnr).toBeCloseTo(whole.sqnr, 6)
      }),
      { numRuns: 40 },
    )
  })
})
