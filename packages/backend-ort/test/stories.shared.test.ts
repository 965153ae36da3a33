import { existsSync } from 'node:fs'
import { int4, int8, quantize, type QuantizeOptions, uint4 } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { createSession, openOnnx } from '../src/index.js'
import { RUNTIMES } from './support/runtimes.js'
import { perplexity, stories } from './support/stories.js'

const data = new URL('../../../../shared/data', import.meta.url).pathname
const isThere = existsSync(`${data}/stories260K.onnx`)

/** Perplexity over 40 stories, float32 3.828. The int4 figures are those of ONNX Runtime's own codes. */
const ROWS: readonly (readonly [string, QuantizeOptions, number, number])[] = [
  ['int4 in groups of 32, symmetric', { format: 'matmul-nbits', weights: int4({ group: 32 }), exclude: ['*Gather*'] }, 4.2745, 4.2755],
  ['int4 in groups of 32, asymmetric', { format: 'matmul-nbits', weights: uint4({ group: 32 }), exclude: ['*Gather*'] }, 4.2295, 4.2305],
  ['int8 per channel, weights only', { format: 'dequantize', weights: int8() }, 3.82, 3.835],
  // With signed weights the kernels of a CPU without VNNI saturate: 4.13 to 4.16.
  ['int8 dynamic', { format: 'dynamic', weights: int8() }, 3.82, 3.864],
]

describe.skipIf(!isThere)(`stories260K (${isThere ? 'of ../shared' : 'skipped: no ../shared beside the checkout'})`, () => {
  it.each(ROWS)('%s', async (_, options, low, high) => {
    const tokens = stories(data)
    const host = await openOnnx(`${data}/stories260K.onnx`)
    const { artifact } = await quantize(host, options)
    for (const { name, ort, options: session } of RUNTIMES) {
      const model = await createSession(ort, artifact.bytes(), session)
      const found = await perplexity(tokens, (batch) => model.run(batch))
      await model.release()
      expect(found, name).toBeGreaterThan(low)
      expect(found, name).toBeLessThanOrEqual(high)
    }
    await host.dispose()
  }, 300_000)
})
