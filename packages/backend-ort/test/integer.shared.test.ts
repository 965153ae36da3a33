import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Batch, difference, int8, quantize, tensor } from '@lowbit/core'
import { readOnnx } from '@lowbit/formats'
import { afterAll, describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { findSaturation, openOnnx } from '../src/index.js'
import { createSession } from '../src/session.js'
import { randomFloats } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

const data = new URL('../../../../shared/data', import.meta.url).pathname
const MODELS = [
  { name: 'mnist-cnn', input: 'Input3', shape: [1, 1, 28, 28], scale: 80, products: 2, gemms: 1, decibels: 25 },
  { name: 'squeezenet1.1', input: 'data', shape: [1, 3, 224, 224], scale: 1, products: 26, gemms: 0, decibels: 20 },
].filter(({ name }) => existsSync(`${data}/${name}.onnx`))

/** Smooth noise: images have no more of high frequencies than this. */
function pictures(shape: readonly number[], scale: number, seeds: readonly number[], input: string): readonly Batch[] {
  const width = shape.at(-1) ?? 1
  return seeds.map((seed) => {
    const noise = randomFloats(shape.reduce((a, b) => a * b, 1), seed, scale)
    for (let pass = 0; pass < 3; pass++) for (let i = width; i < noise.length; i++) noise[i] = (noise[i] + noise[i - 1] + noise[i - width]) / 2.2
    return { [input]: tensor('float32', shape, noise) }
  })
}

const folder = mkdtempSync(join(tmpdir(), 'lowbit-optimized-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Operators of the graph that native ONNX Runtime really runs. */
async function optimizedOps(bytes: Uint8Array): Promise<readonly string[]> {
  const path = join(folder, 'optimized.onnx')
  const session = await createSession(RUNTIMES[0].ort, bytes, { graphOptimizationLevel: 'all', optimizedModelFilePath: path })
  await session.release()
  return readOnnx(readFileSync(path)).graph?.node.map((n) => n.opType) ?? []
}

describe.skipIf(MODELS.length === 0)(`static int8 of real models (${MODELS.length === 0 ? 'skipped: no ../shared beside the checkout' : `${MODELS.length} of ../shared`})`, () => {
  describe.each(MODELS)('$name', ({ name, input, shape, scale, products, gemms, decibels }) => {
    // Counted without a rescue: it gives the input 16 bits for a few decibels, and its convolution is one of floats then.
    it.each(['qdq', 'qoperator'])('%s runs on both runtimes, and its products between others are integer ones', async (format) => {
      const host = await openOnnx(`${data}/${name}.onnx`, { prepare: true })
      const made = async (rescue: boolean) => (await quantize(host, { format, weights: int8(), activations: { dtype: 'uint8', rescue }, calibration: pictures(shape, scale, [1, 2, 3, 4, 5, 6, 7, 8], input) })).artifact.bytes()
      const ops = await optimizedOps(await made(false))
      expect(ops.filter((op) => op === 'QLinearConv')).toHaveLength(products)
      for (const op of ['Conv', 'FusedConv', 'MatMul']) expect(ops).not.toContain(op)
      // A product that ends the model, with a bias added: the runtime makes a Gemm of both before it looks for integers, and leaves that in float.
      expect(ops.filter((op) => op === 'Gemm')).toHaveLength(gemms)
      const bytes = await made(true)
      for (const { ort, name: runtime } of RUNTIMES) {
        const session = await createSession(ort, bytes)
        for (const batch of pictures(shape, scale, [1, 9], input)) {
          const want = Object.values(await host.run(batch, { model: 'original' }))[0]
          const got = Object.values(await session.run(batch))[0]
          expect(difference(toNumbers(want), toNumbers(got)).sqnr, runtime).toBeGreaterThan(decibels)
        }
        await session.release()
      }
      await host.dispose()
    })

    if (name === 'mnist-cnn') return // too few sites for what follows
    it('warns of saturation with signed weights of the whole range, and of nothing by default', async () => {
      const calibration = pictures(shape, scale, [1, 2], input)
      const found = async (settings: Record<string, string>, reduceRange = false) => {
        const host = await openOnnx(`${data}/${name}.onnx`, { prepare: true })
        const { artifact } = await quantize(host, { format: 'qdq', weights: int8({ reduceRange }), activations: { dtype: 'uint8', rescue: false }, calibration, settings })
        await host.dispose()
        const candidate = await openOnnx(artifact.bytes())
        const saturation = await findSaturation(candidate, calibration, { batches: 1 })
        await candidate.dispose()
        return saturation
      }
      const signed = await found({ weightStorage: 'int8' })
      expect(signed.length).toBeGreaterThan(5)
      expect(signed[0]?.sqnr).toBeLessThan(35)
      expect(await found({})).toEqual([])
      expect(await found({ weightStorage: 'int8' }, true)).toEqual([])
    })
  })
})
