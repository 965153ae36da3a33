import { type Batch, int2, roundToNearest, type StatisticRequest } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx } from '@lowbit/formats'
import { findSites, Graph } from '@lowbit/onnx'
import { describe, expect, it } from 'vitest'
import { observeGraph } from '../src/calibrate/index.js'
import { openOnnx, type OrtModule } from '../src/index.js'
import { convolutions, matrices } from './support/models.js'
import { randomTensor } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

const [{ ort }] = RUNTIMES

function contextOf(bytes: Uint8Array, runtime: OrtModule = ort): Parameters<typeof observeGraph>[0] {
  const graph = new Graph(readOnnx(bytes))
  const sites = findSites(graph).records
  return { ort: runtime, graph, before: { graph, sites }, sites }
}

/** Counts the sessions that are opened: each pass over the data has one. */
function counting(): { readonly runtime: OrtModule; readonly opened: () => number } {
  let opened = 0
  return {
    opened: () => opened,
    runtime: { ...ort, Tensor: ort.Tensor, InferenceSession: { create: (model, options) => (opened++, ort.InferenceSession.create(model, options)) } },
  }
}

/** Longest float tensor that a run brought out. */
function measuring(): { readonly runtime: OrtModule; readonly carried: () => number } {
  let most = 0
  const create: OrtModule['InferenceSession']['create'] = async (model, options) => {
    const session = await ort.InferenceSession.create(model, options)
    return new Proxy(session, {
      get(target, name) {
        if (name !== 'run') return Reflect.get(target, name, target)
        return async (...args: Parameters<typeof session.run>) => {
          const out = await target.run(...args)
          for (const { type, data } of Object.values(out)) if (type === 'float32' && data instanceof Float32Array) most = Math.max(most, data.length)
          return out
        }
      },
    })
  }
  return { runtime: { ...ort, Tensor: ort.Tensor, InferenceSession: { create } }, carried: () => most }
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

  it('sees transforms in both models of X̂ᵀX, and decisions in one', async () => {
    const { bytes, batch } = matrices()
    const host = await openOnnx(bytes, { ort })
    const last = host.sites().at(-1)
    const first = host.sites()[0]
    const group = host.foldGroups().find((g) => g.sites.includes(last?.id ?? ''))
    if (last === undefined || group === undefined) throw new Error('a model without fold groups')
    const requests = [{ statistic: 'gram', target: { site: last.id } }, { statistic: 'cross-gram', target: { site: last.id } }] as const satisfies readonly StatisticRequest[]
    const plain = (await host.observe([requests[0]], [batch])).get(requests[0])
    await host.apply(group.id, { kind: 'scale', scales: Float32Array.from({ length: group.channels }, (_, i) => 1 + i / 4) })
    const scaled = await host.observe(requests, [batch])
    expect(scaled.get(requests[0])).not.toEqual(plain)
    expect(scaled.get(requests[1])).toEqual(scaled.get(requests[0]))
    const weight = await host.readWeight(first.id)
    host.assign(first.id, roundToNearest(weight.data, weight.shape[0], weight.shape[1], int2()))
    const decided = await host.observe(requests, [batch])
    expect(decided.get(requests[1])).not.toEqual(decided.get(requests[0]))
    await host.dispose()
  })

  it('refuses targets that are not there, and stops when told to', async () => {
    const { bytes, batch } = matrices()
    const context = contextOf(bytes)
    await expect(observeGraph(context, [{ statistic: 'range', target: { tensor: 'nowhere' } }], [batch])).rejects.toMatchObject({ code: 'LOWBIT_NOT_FOUND' })
    await expect(observeGraph(context, [{ statistic: 'gram', target: { site: 'nowhere' } }], [batch])).rejects.toMatchObject({ code: 'LOWBIT_NOT_FOUND' })
    await expect(observeGraph(context, [{ statistic: 'range', target: { tensor: 'x' } }], [batch], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'LOWBIT_ABORTED' })
  })

  it('samples in the runtime: limits and count exact, no more values than asked for, another part each time', async () => {
    const { bytes } = convolutions()
    const data: readonly Batch[] = Array.from({ length: 6 }, () => ({ x: randomTensor([4, 3, 9, 9], 1) }))
    const tensors = ['x', ...contextOf(bytes).sites.map(({ site }) => site.output.name)]
    const requests = tensors.map((name): StatisticRequest<'histogram'> => ({ statistic: 'histogram', target: { tensor: name }, options: { bins: 512, sample: 40 } }))
    const exact = tensors.map((name): StatisticRequest<'histogram'> => ({ statistic: 'histogram', target: { tensor: name }, options: { bins: 512 } }))
    const { runtime, carried } = measuring()
    const found = await observeGraph(contextOf(bytes, runtime), requests, data)
    const truth = await observeGraph(contextOf(bytes), exact, data)
    for (const [i, request] of requests.entries()) {
      const want = truth.get(exact[i])
      const got = found.get(request)
      expect({ ...got, counts: undefined }).toEqual({ ...want, counts: undefined })
      const total = got?.counts.reduce((a, b) => a + b, 0) ?? 0
      expect(total).toBeCloseTo(want?.count ?? 0, 3)
      // The batches are the same: the same places would fill 40 bins and those of the limits.
      if ((want?.count ?? 0) > 6 * 6 * 40) expect(got?.counts.filter((c) => c > 0).length).toBeGreaterThan(60)
    }
    expect(carried()).toBeLessThanOrEqual(40)
  })

  it('counts a small tensor whole', async () => {
    const { bytes, batch } = matrices()
    const [full, sampled] = [{ bins: 64 }, { bins: 64, sample: 1 << 20 }].map((options): StatisticRequest<'histogram'> => ({ statistic: 'histogram', target: { tensor: 'x' }, options }))
    const found = await observeGraph(contextOf(bytes), [full, sampled], [batch, batch])
    expect(found.get(sampled)).toEqual(found.get(full))
  })

  it('sees NaN that a sample would miss, and says where', async () => {
    const { bytes } = convolutions()
    const x = randomTensor([4, 3, 9, 9], 1)
    x.data[500] = NaN
    const request: StatisticRequest<'histogram'> = { statistic: 'histogram', target: { tensor: 'x' }, options: { sample: 16 } }
    await expect(observeGraph(contextOf(bytes), [request], [{ x: randomTensor([1, 3, 9, 9], 2) }, { x }])).rejects.toMatchObject({ code: 'LOWBIT_NONFINITE', parts: { thing: expect.stringMatching(/'x' in sample 1/) as string } })
  })

  it('finds magnitudes a channel where the runtime infers no rank', async () => {
    // A shape that is only known when the model runs leaves the rank open.
    const main = graph({
      nodes: [
        node('Reshape', ['x', 'rows'], ['r']),
        node('MatMul', ['r', 'w'], ['y'], {}, '', 'linear'),
        node('Reshape', ['x', 'picture'], ['p']),
        node('Conv', ['p', 'k'], ['z'], {}, '', 'conv'),
      ],
      inputs: [valueInfo('x', 'float32', ['n', 24]), valueInfo('rows', 'int64', ['r']), valueInfo('picture', 'int64', ['q'])],
      outputs: [valueInfo('y', 'float32'), valueInfo('z', 'float32')],
      initializers: [hostToTensor('w', randomTensor([6, 5], 1)), hostToTensor('k', randomTensor([4, 3, 1, 1], 2))],
    })
    const x = randomTensor([2, 24], 3)
    const shape = (...dims: number[]): Batch[string] => ({ dtype: 'int64', shape: [dims.length], data: BigInt64Array.from(dims, BigInt) })
    const requests = ['linear', 'conv'].flatMap((site) => (['absmax-per-channel', 'mean-abs-per-channel'] as const).map((statistic) => ({ statistic, target: { site } })))
    const found = await observeGraph(contextOf(writeOnnx(model(main, { '': 13 }, 8))), requests, [{ x, rows: shape(2, 4, 6), picture: shape(2, 3, 4, 2) }])
    const channelOf = [(i: number) => i % 6, (i: number) => Math.floor(i / 8) % 3]
    for (const [s, channels] of [6, 3].entries()) {
      const most = new Float64Array(channels)
      const mean = new Float64Array(channels)
      x.data.forEach((v, i) => {
        const c = channelOf[s](i)
        most[c] = Math.max(most[c], Math.abs(v))
        mean[c] += Math.abs(v) / (x.data.length / channels)
      })
      const got = requests.slice(2 * s, 2 * s + 2).map((r) => Array.from(found.get<typeof r.statistic>(r)?.data ?? []))
      expect(got[0]).toEqual(Array.from(most))
      expect(got[1].length).toBe(channels)
      got[1].forEach((v, c) => expect(v).toBeCloseTo(mean[c], 5))
    }
  })
})
