import { describe, expect, it } from 'vitest'
import { int4, isLowbitError, roundToNearest, type ApplyResult, type ModelHost } from '@lowbit/core'
import { hostSuite, reopenToy, toyBatches, toyHost } from '@lowbit/core/testkit'

hostSuite({ runner: { describe, it }, factory: async () => toyHost(), batches: toyBatches(), reopen: reopenToy, onSkip: (s) => { throw new Error(`skipped ${s.test}: ${s.reason}`) } })

describe('with RMS norms only', () => {
  hostSuite({ runner: { describe, it }, factory: async () => toyHost({ finalNorm: 'rms-norm' }), batches: toyBatches(), reopen: reopenToy, cases: (i) => i % 4 === 1, onSkip: (s) => { throw new Error(`skipped ${s.test}: ${s.reason}`) } })
})

describe('toy host', () => {
  it('turns its residual stream with RMS norms only, and while nothing stands in front of its readers', async () => {
    const signs = Int8Array.from({ length: 16 }, (_, i) => (i % 3 === 0 ? -1 : 1))
    const rotate = { kind: 'rotate', signs, order: 16 } as const
    const turn = (host: ModelHost): Promise<ApplyResult> | undefined => host.capabilities.residual?.rotate('residual:h', rotate)
    expect(await turn(toyHost())).toMatchObject({ how: 'refused', reason: expect.stringContaining('layer norm') })
    const host = toyHost({ finalNorm: 'rms-norm' })
    expect(await turn(host)).toEqual({ how: 'folded' })
    expect(await host.apply('n1', rotate)).toMatchObject({ how: 'inserted' })
    expect(await turn(host)).toMatchObject({ how: 'refused', reason: expect.stringContaining('stands between n1') })
  })

  it('is the same model for the same seed, another for another', async () => {
    const [batch] = toyBatches()
    const a = await toyHost({ seed: 3 }).run(batch)
    expect(await toyHost({ seed: 3 }).run(batch)).toEqual(a)
    expect(await toyHost({ seed: 4 }).run(batch)).not.toEqual(a)
  })

  it('names site and batch of a NaN', async () => {
    const [first, second] = toyBatches({ batches: 2 })
    const image = { ...second['image'], data: new Float32Array(second['image'].data.length).fill(Number.NaN) }
    const host = toyHost()
    const error = await host.observe([{ statistic: 'gram', target: { site: 'reduce' } }], [first, { ...second, image }]).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_NONFINITE')).toBe(true)
    expect(String(error)).toMatch(/site reduce.*batch 1/)
  })

  it('takes cross-gram from the two models side by side', async () => {
    const host = toyHost()
    const request = { statistic: 'cross-gram', target: { site: 'head' } } as const
    const same = (await host.observe([request, { ...request, statistic: 'gram' }], toyBatches())).get(request)
    const gram = (await host.observe([{ ...request, statistic: 'gram' }], toyBatches())).get({ ...request, statistic: 'gram' })
    expect(same).toEqual(gram)
    // What is decided is in one of them, what is transformed in both.
    const weight = await host.readWeight('down')
    host.assign('down', roundToNearest(weight.data, weight.shape[0], weight.shape[1], int4()))
    const crossed = (await host.observe([request], toyBatches())).get(request)
    const rounded = (await host.observe([{ ...request, statistic: 'gram' }], toyBatches())).get({ ...request, statistic: 'gram' })
    expect(crossed).not.toEqual(gram)
    expect(crossed).not.toEqual(rounded)
    host.assign('down', null)
    const group = host.foldGroups().find((g) => g.sites.includes('head'))
    await host.apply(group?.id ?? '', { kind: 'scale', scales: Float32Array.from({ length: group?.channels ?? 0 }, (_, i) => 1 + i / 8) })
    const both = [{ ...request, statistic: 'gram' } as const, request] as const
    const scaled = await host.observe(both, toyBatches())
    expect(scaled.get(both[1])).toEqual(scaled.get(both[0]))
    expect(scaled.get(both[1])).not.toEqual(gram)
  })
})
