import { beforeAll, expect, it } from 'vitest'
import { isLowbitError, type Batch, type StatisticName } from '@lowbit/core'
import { openLayersModel } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

beforeAll(() => useBackend('cpu'))

const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples']

it('refuses activations that are not finite in every statistic, naming the sample', { timeout: 20_000 }, async () => {
  const host = await openLayersModel(tf, tf.sequential({ layers: [tf.layers.dense({ units: 4, inputShape: [6] })] }))
  const name = host.inputs()[0].name
  const [site] = host.sites()
  const batch = (bad: number): Batch => ({ [name]: { dtype: 'float32', shape: [2, 6], data: Float32Array.from({ length: 12 }, (_, i) => (i === 5 ? bad : i)) } })
  for (const statistic of STATISTICS) {
    for (const bad of [Infinity, -Infinity, NaN]) {
      const error: unknown = await host.observe([{ statistic, target: { site: site.id } }], [batch(1), batch(bad)]).then(() => 'taken', (e: unknown) => e)
      expect(isLowbitError(error, 'LOWBIT_NONFINITE') ? error.parts.thing : String(error), `${statistic} with ${bad}`).toMatch(/in sample 1$/)
    }
    expect((await host.observe([{ statistic, target: { site: site.id } }], [batch(1)])).get({ statistic, target: { site: site.id } })).toBeDefined()
  }
})

it('gives the same statistics whatever memory it has, of data that is given once too', async () => {
  const host = await openLayersModel(tf, tf.sequential({ layers: [tf.layers.dense({ units: 8, inputShape: [6], kernelInitializer: tf.initializers.glorotNormal({ seed: 1 }) }), tf.layers.dense({ units: 3, kernelInitializer: tf.initializers.glorotNormal({ seed: 2 }) })] }))
  const name = host.inputs()[0].name
  const data = Array.from({ length: 5 }, (_, b): Batch => ({ [name]: { dtype: 'float32', shape: [2, 6], data: Float32Array.from({ length: 12 }, (_, i) => Math.sin(i + b * 1.3)) } }))
  const requests = host.sites().flatMap(({ id }) => STATISTICS.map((statistic) => ({ statistic, target: { site: id } })))
  const all = await host.observe(requests, data)
  const little = await host.observe(requests, data, { maxMemory: 100 })
  // Less than all of it at once, more than the data.
  const once = await host.observe(requests, data.values(), { maxMemory: 2000 })
  for (const request of requests) expect(little.get(request)).toEqual(all.get(request))
  for (const request of requests) expect(once.get(request)).toEqual(all.get(request))
})
