import { type Batch, type StatisticRequest } from '@lowbit/core'
import { readOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { observeGraph } from '../src/calibrate/index.js'
import { Graph, type OrtModule } from '../src/index.js'
import { findSites } from '../src/sites/index.js'
import { convolutions, matrices } from './support/models.js'
import { randomTensor } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

const [{ ort }] = RUNTIMES

function contextOf(bytes: Uint8Array, runtime: OrtModule = ort): Parameters<typeof observeGraph>[0] {
  const graph = new Graph(readOnnx(bytes))
  return { ort: runtime, graph, original: graph, sites: findSites(graph).records }
}

/** Counts the sessions that are opened: each pass over the data has one. */
function counting(): { readonly runtime: OrtModule; readonly opened: () => number } {
  let opened = 0
  return {
    opened: () => opened,
    runtime: { ...ort, Tensor: ort.Tensor, InferenceSession: { create: (model, options) => (opened++, ort.InferenceSession.create(model, options)) } },
  }
}

describe('observeGraph', () => {
  it('gives the same Gram matrices in many small passes as in one', async () => {
    const { bytes, batch } = convolutions()
    const data: readonly Batch[] = [batch, { x: randomTensor([1, 3, 9, 9], 5) }]
    const { runtime, opened } = counting()
    const context = contextOf(bytes, runtime)
    const requests = context.sites.map(({ site }): StatisticRequest<'gram'> => ({ statistic: 'gram', target: { site: site.id } }))
    const whole = await observeGraph(context, requests, data)
    const passes = opened()
    const pieces = await observeGraph(context, requests, data, { maxMemory: 16 })
    expect(opened() - passes).toBeGreaterThan(passes)
    for (const request of requests) expect(pieces.get(request)).toEqual(whole.get(request))
  })

  it('takes inputs of different lengths, and counts what it saw', async () => {
    const data: readonly Batch[] = [3, 11, 6].map((n, i) => ({ x: randomTensor([n, 44], i + 1) }))
    const requests = [
      { statistic: 'range', target: { tensor: 'x' } },
      { statistic: 'histogram', target: { tensor: 'x' }, options: { bins: 64 } },
    ] as const satisfies readonly StatisticRequest[]
    const found = await observeGraph(contextOf(matrices().bytes), requests, data)
    const values = data.flatMap((b) => Array.from(b['x']?.data ?? [], Number))
    expect(found.get(requests[0])).toEqual({ min: Float32Array.of(Math.min(...values)), max: Float32Array.of(Math.max(...values)), count: 20 * 44 })
    expect(found.get(requests[1])?.counts.reduce((a, b) => a + b, 0)).toBe(20 * 44)
  })

  it('equals X̂ᵀX of one model with itself with its Gram matrix', async () => {
    const { bytes, batch } = matrices()
    const context = contextOf(bytes)
    const site = context.sites[1]?.site.id ?? ''
    const requests = [{ statistic: 'gram', target: { site } }, { statistic: 'cross-gram', target: { site } }] as const satisfies readonly StatisticRequest[]
    const found = await observeGraph(context, requests, [batch])
    expect(found.get(requests[1])).toEqual(found.get(requests[0]))
  })

  it('refuses targets that are not there, and stops when told to', async () => {
    const { bytes, batch } = matrices()
    const context = contextOf(bytes)
    await expect(observeGraph(context, [{ statistic: 'range', target: { tensor: 'nowhere' } }], [batch])).rejects.toMatchObject({ code: 'LOWBIT_NOT_FOUND' })
    await expect(observeGraph(context, [{ statistic: 'gram', target: { site: 'nowhere' } }], [batch])).rejects.toMatchObject({ code: 'LOWBIT_NOT_FOUND' })
    await expect(observeGraph(context, [{ statistic: 'range', target: { tensor: 'x' } }], [batch], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'LOWBIT_ABORTED' })
  })
})
