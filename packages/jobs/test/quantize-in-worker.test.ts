import { describe, expect, it } from 'vitest'
import { fastLinAlg, isLowbitError, quantize, resolveRecipe, type ModelHost, type ProgressEvent, type Report } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'
import { gptq } from '@lowbit/algos-gptq'
import { algorithmTable, quantizeInWorker, serveQuantize, type Port, type WorkerOptions } from '@lowbit/jobs'

const algorithms = { '@lowbit/algos-gptq': (config: Parameters<typeof gptq>[0]) => gptq(config) }
const data = toyBatches({ batches: 3, rows: 8 })
const options: WorkerOptions = { weights: { dtype: 'int3' }, rounding: '@lowbit/algos-gptq', biasCorrection: true }

/** A worker of this process: the same messages over the same kind of channel. */
function worker(open: () => Promise<ModelHost> = async () => toyHost()): Port & { readonly close: () => void } {
  const { port1, port2 } = new MessageChannel()
  serveQuantize({ port: port2, open: async (model) => (model instanceof Uint8Array && model.length === 3 ? open() : Promise.reject(new Error('no model'))), algorithms, linalg: fastLinAlg })
  return port1
}

const timeless = (report: Report): Report => ({ ...report, milliseconds: {} })
const model = (): Uint8Array => Uint8Array.of(1, 2, 3)

async function here(): Promise<{ readonly bytes: Uint8Array; readonly report: Report }> {
  const { artifact, report } = await quantize(toyHost(), { ...resolveRecipe({ lowbit: 1, ...options }, algorithmTable(algorithms)), calibration: data, linalg: fastLinAlg })
  return { bytes: artifact.bytes(), report: timeless(report) }
}

describe('quantizeInWorker', () => {
  it('gives the bytes and the report of a run here, with one worker and with several, and the workers can be used again', async () => {
    const wanted = await here()
    const workers = [worker(), worker(), worker()]
    for (const used of [workers[0], workers, workers]) {
      const events: ProgressEvent[] = []
      const { bytes, report } = await quantizeInWorker(used, { model: model(), options, calibration: data, onProgress: (event) => events.push(event) })
      expect({ bytes, report: timeless(report) }).toEqual(wanted)
      expect(new Set(events.map((e) => e.phase))).toContain('round')
    }
    for (const w of workers) w.close()
  })

  it('reads data that can be read once only, moves the bytes of the model, and passes data errors on', async () => {
    const used = worker()
    const bytes = model()
    const once = (async function* () { yield* data })()
    expect((await quantizeInWorker(used, { model: bytes, options: { ...options, maxMemory: 2 ** 20 }, calibration: once })).bytes).toEqual((await here()).bytes)
    expect(bytes.byteLength).toBe(0)
    const broken = { *[Symbol.iterator]() { yield data[0]; throw new Error('the disk is gone') } }
    await expect(quantizeInWorker(used, { model: model(), options, calibration: broken })).rejects.toThrow('the disk is gone')
    await expect(quantizeInWorker(used, { model: model(), options: { ...options, rounding: 'nobody' }, calibration: data })).rejects.toMatchObject({ code: 'LOWBIT_NOT_FOUND' })
    await expect(quantizeInWorker(used, { model: 'elsewhere', options, calibration: data })).rejects.toThrow('no model')
    used.close()
  })

  it('stops at once on request, with the reason', async () => {
    const used = worker()
    const controller = new AbortController()
    const reason = new Error('cancelled')
    const slow = { async *[Symbol.asyncIterator]() { for (;;) { await new Promise((r) => setTimeout(r, 5)); yield data[0] } } }
    setTimeout(() => controller.abort(reason), 50)
    const error: unknown = await quantizeInWorker(used, { model: model(), options, calibration: slow, signal: controller.signal }).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_ABORTED') && error.cause).toBe(reason)
    expect((await quantizeInWorker(used, { model: model(), options, calibration: data })).bytes).toEqual((await here()).bytes)
    used.close()
  })
})
