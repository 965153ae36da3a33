import { existsSync } from 'node:fs'
import { type Batch, type DType, elementCount, int4, int8, quantize, type QuantizeOptions, uint8 } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { compareModels, openOnnx, type OnnxHost } from '../src/index.js'
import { randomFloats } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

const data = new URL('../../../../shared/data', import.meta.url).pathname
const models = ['mnist-cnn', 'squeezenet1.1', 'magika-v3.3', 'stories260K'].filter((name) => existsSync(`${data}/${name}.onnx`))
const OPTIONS: readonly QuantizeOptions[] = [
  { format: 'matmul-nbits', weights: int4({ group: 32 }) },
  { format: 'matmul-nbits', weights: uint8({ group: 64 }) },
  { format: 'dequantize', weights: int8() },
  { format: 'dequantize', weights: int4() },
  { format: 'dynamic', weights: int8() },
]

/** Made-up inputs in the shapes of the model, symbolic sizes small. */
function batchFor(host: OnnxHost): Batch {
  const fill = (dtype: DType | undefined, count: number): Batch[string]['data'] => {
    if (dtype === 'int64') return BigInt64Array.from({ length: count }, (_, i) => BigInt((i * 31) % 257))
    if (dtype === 'int32') return Int32Array.from({ length: count }, (_, i) => (i * 31) % 257)
    return randomFloats(count, 5)
  }
  return Object.fromEntries(
    host.inputs().map(({ name, dtype, shape = [] }) => {
      const sizes = shape.map((size, i) => (typeof size === 'number' ? size : i === 0 ? 1 : 16))
      return [name, { dtype: dtype ?? 'float32', shape: sizes, data: fill(dtype, elementCount(sizes)) }]
    }),
  )
}

describe.skipIf(models.length === 0)(`real models (${models.length === 0 ? 'skipped: no ../shared beside the checkout' : `${models.length} of ../shared`})`, () => {
  describe.each(models)('%s', (name) => {
    it.each(OPTIONS.map((o) => [`${o.format} ${o.weights.dtype}`, o] as const))('%s runs on both runtimes as it was rounded', async (_, options) => {
      for (const { name: runtime, ort, options: sessionOptions } of RUNTIMES) {
        // The host runs the file that would be written: in the same runtime, under the same options, which decide what is fused.
        const host = await openOnnx(`${data}/${name}.onnx`, { ort, sessionOptions })
        const { artifact } = await quantize(host, options)
        expect(artifact.size).toBeLessThan(host.size())
        const written = await openOnnx(artifact.bytes(), { ort, sessionOptions })
        const { outputs } = await compareModels(host, written, [batchFor(host)], { latency: false })
        // Dynamic files round activations as well; the others differ by the order of sums alone.
        for (const output of outputs) expect(output.sqnr, `${runtime} ${output.name}`).toBeGreaterThan(options.format === 'dynamic' ? 25 : 80)
        await written.dispose()
        await host.dispose()
      }
    })
  })
})
