import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../src/index.js'
import { NATIVE } from './support/runtimes.js'
import { perplexity, stories } from './support/stories.js'

const data = new URL('../../../../shared/data', import.meta.url).pathname
const isThere = existsSync(`${data}/stories260K.onnx`)

describe.skipIf(!isThere)(`residual stream of stories260K (${isThere ? 'of ../shared' : 'skipped: no ../shared beside the checkout'})`, () => {
  it('runs from the embedding to the head, and turns without changing the perplexity or the graph', async () => {
    const tokens = stories(data, 10)
    const host = await openOnnx(`${data}/stories260K.onnx`, NATIVE)
    const streams = await host.capabilities.residual.streams()
    expect(streams).toHaveLength(1)
    const [stream] = streams
    expect(stream).toMatchObject({ channels: 64 })
    expect(stream?.reason).toBeUndefined()
    // Five blocks of q, k, v, gate and up, then the head; the embedding, and five blocks of o and down.
    expect(stream?.readers).toHaveLength(26)
    expect(stream?.writers).toHaveLength(11)
    const before = await perplexity(tokens, (batch) => host.run(batch))
    const nodes = host.graphNow().nodes().length
    const signs = Int8Array.from({ length: 64 }, (_, i) => ((i * 7) % 5 < 2 ? -1 : 1))
    expect(await host.capabilities.residual.rotate(stream?.id ?? '', { kind: 'rotate', signs, order: 64 })).toEqual({ how: 'folded' })
    expect(host.graphNow().nodes()).toHaveLength(nodes)
    expect(Math.abs((await perplexity(tokens, (batch) => host.run(batch))) - before)).toBeLessThan(1e-4)
    await host.dispose()
  }, 120_000)
})
