import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Batch, int8, isLowbitError, quantize, type QuantizeOptions, rtn } from '@lowbit/core'
import { readSafetensors, writeSafetensors } from '@lowbit/formats'
import { calibrationFile } from '@lowbit/formats/node'
import fc from 'fast-check'
import * as native from 'onnxruntime-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOnnx, type OrtModule } from '../src/index.js'
import { convolutions, matrices, type SmallModel } from './support/models.js'
import { randomTensor } from './support/random.js'

let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lowbit-cache-'))
  path = join(folder, 'model.stats')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** ONNX Runtime that counts runs. */
function counted(): { readonly ort: OrtModule; readonly runs: () => number } {
  let runs = 0
  const { InferenceSession, Tensor } = native
  const ort: OrtModule = {
    Tensor,
    InferenceSession: {
      async create(model, options) {
        const session = await InferenceSession.create(model as Uint8Array, options)
        const { inputNames, outputNames, inputMetadata, outputMetadata } = session
        return { inputNames, outputNames, inputMetadata, outputMetadata, release: () => session.release(), run: (feeds, fetches) => (runs++, session.run(feeds as never, fetches)) }
      },
    },
  }
  return { ort, runs: () => runs }
}

const data: readonly Batch[] = [60, 61, 62].map((seed) => ({ x: randomTensor([5, 44], seed) }))
const STATIC: QuantizeOptions = { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration: data }

async function run(options: Partial<QuantizeOptions> = {}, small: SmallModel = matrices()): Promise<{ readonly bytes: Uint8Array; readonly runs: number }> {
  const { ort, runs } = counted()
  const host = await openOnnx(small.bytes, { ort })
  try {
    const { artifact } = await quantize(host, { ...STATIC, calibrationCache: calibrationFile(path), ...options })
    return { bytes: artifact.bytes(), runs: runs() }
  } finally {
    await host.dispose()
  }
}

describe('a calibration cache', () => {
  it('spares the second run every pass over the data, and gives the same bytes', async () => {
    const first = await run()
    expect(first.runs).toBeGreaterThan(data.length)
    expect(readdirSync(folder)).toEqual(['model.stats'])
    const second = await run()
    expect(second.runs).toBe(0)
    expect(second.bytes).toEqual(first.bytes)
    expect((await run({ calibrationCache: undefined as never })).bytes).toEqual(first.bytes)
  })

  it('is written before a site that follows from its statistics is kept, so that a run that is killed leaves both', async () => {
    const there: boolean[] = []
    await run({
      format: 'matmul-nbits', weights: int8({ group: 32 }), activations: undefined as never, rounding: rtn({ range: 'search-gram' }),
      jobs: { load: () => Promise.resolve(undefined), save: () => Promise.resolve(void there.push(existsSync(path))) },
    })
    expect(there.length).toBeGreaterThan(0)
    expect(there).not.toContain(false)
  })

  const OTHERS: readonly (readonly [string, Partial<QuantizeOptions>])[] = [
    ['another method', { activations: { dtype: 'uint8', method: 'entropy' } }],
    ['another type', { activations: { dtype: 'int8', symmetric: true } }],
    ['other settings of the emitter', { settings: { weightStorage: 'int8' } }],
  ]
  it.each(OTHERS)('serves a run with %s too: no statistics are taken again', async (_, options) => {
    await run({ activations: { dtype: 'uint8', rescue: false } })
    const { runs, bytes } = await run({ ...options, activations: { dtype: 'uint8', ...options.activations, rescue: false } })
    expect(runs).toBe(0)
    expect(bytes).toEqual((await run({ ...options, activations: { dtype: 'uint8', ...options.activations, rescue: false }, calibrationCache: undefined as never })).bytes)
  })

  it('keeps Gram matrices of algorithms that ask for them', async () => {
    const once = async (): Promise<{ runs: number; bytes: Uint8Array }> => {
      const { ort, runs } = counted()
      const host = await openOnnx(convolutions().bytes, { ort })
      const { artifact } = await quantize(host, { format: 'dequantize', weights: int8(), rounding: rtn({ range: 'search-gram' }), calibration: [convolutions().batch], calibrationCache: calibrationFile(path) })
      await host.dispose()
      return { runs: runs(), bytes: artifact.bytes() }
    }
    const first = await once()
    const second = await once()
    expect([first.runs > 0, second.runs]).toEqual([true, 0])
    expect(second.bytes).toEqual(first.bytes)
  })

  it.each([
    ['other data', { calibration: data.slice(1) }, undefined, /other data/],
    ['another model', {}, matrices(17), /another model/],
    ['other weights', { weights: int8({ perTensor: true }) }, undefined, /weights \{.*channel.*now \{.*tensor/],
    ['another algorithm', { rounding: rtn({ range: 'search' }) }, undefined, /plugins/],
  ] as const)('refuses a file made with %s, says so, and leaves it alone', async (_, options, small, words) => {
    await run()
    const before = readFileSync(path)
    const error: unknown = await run(options, small).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_CALIBRATION'), String(error)).toBe(true)
    expect(String(error)).toMatch(words)
    expect(String(error)).toContain(path)
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  it('takes again what did not fit', async () => {
    const small = (): Partial<QuantizeOptions> => ({ calibrationCache: calibrationFile(path, { maxBytes: 70_000 }), activations: { dtype: 'uint8', rescue: false } })
    const first = await run(small())
    const second = await run(small())
    expect(second.runs).toBeGreaterThan(0)
    expect(second.runs).toBeLessThan(first.runs + 1)
    expect(second.bytes).toEqual(first.bytes)
  })

  it('writes nothing when the run is stopped', async () => {
    const stop = new AbortController()
    const error: unknown = await run({ signal: stop.signal, onProgress: ({ phase }) => phase === 'calibrate' && stop.abort() }).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_ABORTED')).toBe(true)
    expect(existsSync(path)).toBe(false)
  })

  it('refuses a file that is no cache, or one with a wrong part, by name', async () => {
    await run()
    const bytes = readFileSync(path)
    const file = readSafetensors(bytes)
    const tensors = Object.fromEntries([...file.entries.keys()].map((name) => [name, file.read(name)]))
    const counts = Object.keys(tensors).find((name) => name.endsWith('counts')) ?? ''
    const broken: readonly (readonly [Uint8Array, string])[] = [
      [Uint8Array.of(1, 2, 3), 'LOWBIT_FORMAT'],
      [bytes.subarray(0, bytes.length - 9), 'LOWBIT_FORMAT'],
      [writeSafetensors(tensors, {}), 'LOWBIT_FORMAT'],
      [writeSafetensors(tensors, { ...file.metadata, 'lowbit.calibration': '9' }), 'LOWBIT_VERSION'],
      [writeSafetensors(tensors, { ...file.metadata, rescues: '[["a", {}]]' }), 'LOWBIT_FORMAT'],
      [writeSafetensors({ ...tensors, [counts]: { dtype: 'float64', shape: [1], data: Float64Array.of(NaN) } }, file.metadata), 'LOWBIT_FORMAT'],
    ]
    for (const [content, code] of broken) {
      writeFileSync(path, content)
      const error: unknown = await run().catch((e: unknown) => e)
      expect(isLowbitError(error) ? error.code : error).toBe(code)
      expect(String(error)).toContain(path)
    }
  })

  it('a file with bytes changed is read or refused, never a crash', async () => {
    await run()
    const bytes = readFileSync(path)
    const header = Number(bytes.readBigUInt64LE(0))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }), async (changes) => {
        const changed = Uint8Array.from(bytes)
        for (const [at, value] of changes) changed[at % (header + 64)] = value
        writeFileSync(path, changed)
        await calibrationFile(path).identity().catch((error: unknown) => {
          if (!isLowbitError(error)) throw error
        })
      }),
      { numRuns: 200 },
    )
  })
})
