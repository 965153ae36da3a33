import { difference, type ResidualStream } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { openOnnx } from '../src/index.js'
import { residualModel, type ResidualModelOptions } from './support/residual-models.js'
import { NATIVE } from './support/runtimes.js'

const signsOf = (channels: number): Int8Array => Int8Array.from({ length: channels }, (_, i) => ((i * 5) % 3 === 0 ? -1 : 1))

async function streamOf(options: ResidualModelOptions): Promise<ResidualStream> {
  const host = await openOnnx(residualModel(options).bytes, NATIVE)
  const streams = await host.capabilities.residual.streams()
  await host.dispose()
  expect(streams).toHaveLength(1)
  const [stream] = streams
  if (stream === undefined) throw new Error('no stream')
  return stream
}

describe('residual streams', () => {
  it.each(['decomposed', 'divided', 'simplified', 'skip'] as const)('are found behind norms that are %s', async (norm) => {
    const { channels, readers, writers, reason } = await streamOf({ width: 24, norm })
    expect(reason).toBeUndefined()
    expect(channels).toBe(24)
    expect(readers.map((r) => r.site)).toHaveLength(4)
    expect(writers).toHaveLength(3)
    for (const { gain } of readers) expect(gain).toHaveLength(24)
  })

  it.each([
    ['decomposed', 64, 64],
    ['divided', 48, 12],
    ['simplified', 24, 24],
    ['simplified', 40, 40],
    ['skip', 56, 56],
    ['skip', 28, 4],
  ] as const)('%s, %i channels turn in blocks of %i without an operator, and nothing changes but the weights', async (norm, width, order) => {
    const { bytes, batch } = residualModel({ width, norm })
    const host = await openOnnx(bytes, NATIVE)
    const before = await host.run(batch)
    const nodes = host.graphNow().nodes().length
    const [stream] = await host.capabilities.residual.streams()
    if (stream === undefined) throw new Error('no stream')
    const weights = await Promise.all([...stream.readers.map((r) => r.site), ...stream.writers].map((id) => host.readWeight(id)))
    expect(await host.capabilities.residual.rotate(stream.id, { kind: 'rotate', signs: signsOf(width), order })).toEqual({ how: 'folded' })
    expect(host.graphNow().nodes()).toHaveLength(nodes)
    expect(difference(toNumbers(before.logits), toNumbers((await host.run(batch)).logits)).maxError).toBeLessThan(2e-5)
    const turned = await Promise.all([...stream.readers.map((r) => r.site), ...stream.writers].map((id) => host.readWeight(id)))
    for (const [i, w] of turned.entries()) expect(w.data).not.toEqual(weights[i]?.data)
    const [again] = await host.capabilities.residual.streams()
    for (const { gain } of again?.readers ?? []) expect(gain?.every((g) => g === 1)).toBe(true)
    // A second turn finds gains of 1 and changes nothing either.
    expect(await host.capabilities.residual.rotate(stream.id, { kind: 'rotate', signs: signsOf(width), order })).toEqual({ how: 'folded' })
    expect(difference(toNumbers(before.logits), toNumbers((await host.run(batch)).logits)).maxError).toBeLessThan(4e-5)
    await host.dispose()
  })

  it('turn a tied head with its embedding, once', async () => {
    const { bytes, batch } = residualModel({ width: 16, norm: 'simplified', tied: 'bare' })
    const host = await openOnnx(bytes, NATIVE)
    const before = await host.run(batch)
    const [stream] = await host.capabilities.residual.streams()
    if (stream === undefined) throw new Error('no stream')
    expect(await host.capabilities.residual.rotate(stream.id, { kind: 'rotate', signs: signsOf(16), order: 16 })).toEqual({ how: 'folded' })
    expect(difference(toNumbers(before.logits), toNumbers((await host.run(batch)).logits)).maxError).toBeLessThan(2e-5)
    await host.dispose()
  })

  it.each<[string, Partial<ResidualModelOptions>, RegExp]>([
    ['a layer norm', { norm: 'layer' }, /layer norm.*subtracts the mean/],
    ['a layer norm in pieces', { norm: 'layer-decomposed' }, /part of a layer norm/],
    ['something that reads its mean', { extra: 'mean' }, /'n\/average'.*no rotation commutes/],
    ['a tied head behind the gain of a norm', { tied: 'behind a norm' }, /shares its weight with .*untie/],
    ['an output of the model', { extra: 'output' }, /'s2' is an output of the model/],
    ['an operator on single channels', { extra: 'relu' }, /Relu.*reads the stream/],
  ])('with %s say why they cannot be turned', async (_, options, reason) => {
    const all: ResidualModelOptions = { width: 16, norm: 'simplified', ...options }
    expect((await streamOf(all)).reason).toMatch(reason)
    const { bytes, batch } = residualModel(all)
    const host = await openOnnx(bytes, NATIVE)
    const before = await host.run(batch)
    const [stream] = await host.capabilities.residual.streams()
    expect(await host.capabilities.residual.rotate(stream?.id ?? '', { kind: 'rotate', signs: signsOf(16), order: 16 })).toMatchObject({ how: 'refused' })
    expect(await host.run(batch)).toEqual(before)
    await host.dispose()
  })

  it('take rotations of their own width only', async () => {
    const host = await openOnnx(residualModel({ width: 16, norm: 'skip' }).bytes, NATIVE)
    const [stream] = await host.capabilities.residual.streams()
    expect(await host.capabilities.residual.rotate(stream?.id ?? '', { kind: 'rotate', signs: signsOf(8), order: 8 })).toMatchObject({ how: 'refused' })
    await host.dispose()
  })
})
