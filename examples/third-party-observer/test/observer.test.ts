import { int8, quantize } from '@lowbit/core'
import { observerSuite, toyBatches, toyHost } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { sigmaObserver } from '../src/index.js'

observerSuite({ runner: { describe, it }, factory: () => sigmaObserver() })
observerSuite({ runner: { describe, it }, factory: () => sigmaObserver({ sigmas: 1 }) })

it('takes what it was told to keep, and the artifact says so', async () => {
  const scaleOf = async (sigmas: number): Promise<number> => {
    const { report } = await quantize(toyHost(), { weights: int8(), activations: { dtype: 'uint8', observer: sigmaObserver({ sigmas }), rescue: false }, calibration: toyBatches() })
    expect(report.options).toMatchObject({ activations: { observer: { config: { sigmas } } } })
    return report.activations.find((a) => a.status === 'quantized')?.scale ?? NaN
  }
  expect(await scaleOf(1)).toBeLessThan(await scaleOf(3))
})

it('refuses options that it does not have', () => {
  const given: object = { sigma: 3 }
  expect(() => sigmaObserver(given)).toThrow(/sigmaObserver\(\{ sigma \}\): an unknown option.*did you mean sigmas\?/)
})
