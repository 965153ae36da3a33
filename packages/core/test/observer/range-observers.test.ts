import { describe, expect, it } from 'vitest'
import { entropyObserver, int8, minmaxObserver, movingAverageObserver, MovingAverageObserver, mseObserver, percentileObserver, quantize, type RangeObserver, type StaticActivations } from '@lowbit/core'
import { observerSuite, toyBatches, toyHost } from '@lowbit/core/testkit'

const OBSERVERS: Readonly<Record<string, () => RangeObserver>> = { minmax: minmaxObserver, 'moving-average': movingAverageObserver, percentile: percentileObserver, entropy: entropyObserver, mse: mseObserver }

for (const factory of Object.values(OBSERVERS)) observerSuite({ runner: { describe, it }, factory })

const scales = async (activations: Omit<StaticActivations, 'dtype'>): Promise<readonly (number | undefined)[]> => {
  const { report } = await quantize(toyHost(), { weights: int8(), activations: { dtype: 'uint8', rescue: false, ...activations }, calibration: toyBatches() })
  return report.activations.map((a) => (a.status === 'quantized' ? a.scale : undefined))
}

describe('observers of core', () => {
  it.each(Object.keys(OBSERVERS))('%s is the method of that name', async (method) => {
    const factory = OBSERVERS[method]
    expect(await scales({ observer: factory?.() })).toEqual(await scales({ method: method as NonNullable<StaticActivations['method']> }))
  })

  it('averages limits over batches as the statistic does', () => {
    for (const constant of [0.01, 0.5, 'mean'] as const) {
      const slow = new MovingAverageObserver({ constant })
      const stream = movingAverageObserver({ constant }).start({ dtype: 'uint8', symmetric: false })
      for (const [min, max] of [[-1, 2], [-3, 1], [-2, 8]] as const) {
        slow.observe({ dtype: 'float32', shape: [2], data: Float32Array.of(min, max) })
        stream.add({ min: Float32Array.of(min), max: Float32Array.of(max), count: 2 })
      }
      const { min, max } = stream.range()
      expect([Math.fround(min), Math.fround(max)]).toEqual([slow.result().min[0], slow.result().max[0]])
    }
  })

  it('is refused with what it does not use, or beside a method', async () => {
    await expect(scales({ observer: minmaxObserver(), bins: 64 })).rejects.toThrow(/activations\.bins.*looks at no histogram/)
    await expect(scales({ observer: minmaxObserver(), method: 'mse' })).rejects.toThrow(/observer together with method/)
    const broken: RangeObserver = { ...minmaxObserver(), name: 'broken', start: () => ({ add: () => {}, range: () => ({ min: 1, max: 0 }), bytes: 0 }) }
    await expect(scales({ observer: broken })).rejects.toThrow(/LOWBIT_PLUGIN: broken: the range \[1, 0\]/)
    await expect(scales({ observer: { ...minmaxObserver(), apiVersion: 9 as 2 } })).rejects.toThrow(/LOWBIT_API_VERSION/)
  })
})
