import { describe, expect, it } from 'vitest'
import { int4, quantize } from '@lowbit/core'
import { hostSuite } from '@lowbit/core/testkit'
import { openMlp } from '../src/host.js'
import { sampleBatches, sampleModel } from './sample.js'

hostSuite({ runner: { describe, it }, factory: async () => openMlp(sampleModel()), batches: sampleBatches() })

describe('the runtime', () => {
  it('runs what was written as the host computed it', async () => {
    const host = openMlp(sampleModel())
    const { artifact } = await quantize(host, { weights: int4({ group: 4 }) })
    const again = openMlp(artifact.bytes())
    const [batch] = sampleBatches()
    expect((await again.run(batch))['y']).toEqual((await host.run(batch))['y'])
    expect(again.sites()).toEqual([])
    expect(again.skipped().map((s) => s.reason)).toEqual(['already quantized', 'already quantized', 'already quantized'])
    expect(artifact.size).toBeLessThan(host.size() * 0.6)
  })
})
