import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openOnnx } from '@lowbit/backend-ort'
import { quantize, resolveRecipe, type JobStore, type QuantizeOptions, type Report } from '@lowbit/core'
import { quantizeInWorker, serveJobs, serveQuantize, workerRunner, type Port, type WorkerOptions } from '@lowbit/jobs'
import { folderStore } from '@lowbit/jobs/node'
import { sequences, type SweepModel } from '../../backend-ort/test/support/sweep-models.js'
import { bestLinAlg } from '../src/jobs/linalg.js'
import { ALGORITHMS } from '../src/recipes/algorithms.js'

const folder = mkdtempSync(join(tmpdir(), 'lowbit-one-model-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const gptq = { rounding: '@lowbit/algos-gptq' } as const

/** A recurrent layer, a branch with a weight of its own, a table, and a weight that two operators read, beside plain products. */
const cases: Readonly<Record<string, { readonly made: SweepModel; readonly recipe: WorkerOptions }>> = {
  'stored weights of float32': { made: sequences(17, 'float32'), recipe: { weights: { dtype: 'int4', group: 16 }, format: 'dequantize', ...gptq } },
  'stored weights of float16': { made: sequences(17, 'float16'), recipe: { weights: { dtype: 'int4', group: 16 }, format: 'matmul-nbits', ...gptq } },
  'float16, static': { made: sequences(17, 'float16'), recipe: { weights: { dtype: 'int8' }, format: 'qdq', activations: { dtype: 'uint8' }, ...gptq } },
}

interface Made {
  readonly sha256: string
  readonly report: Report
}

const result = (artifact: Uint8Array, report: Report): Made => ({ sha256: createHash('sha256').update(artifact).digest('hex'), report: { ...report, milliseconds: {} } })

function jobWorker(): Port {
  const { port1, port2 } = new MessageChannel()
  serveJobs({ port: port2, algorithms: ALGORITHMS, linalg: bestLinAlg() })
  return port1
}

/** Loses some of what it was given, as a run that was killed would have. */
function halfOf(store: JobStore): JobStore {
  let kept = 0
  return { ...store, open: (identity) => store.open?.(identity) ?? Promise.resolve(), load: (site) => store.load(site), save: async (site, found) => (kept++ % 2 === 0 ? store.save(site, found) : undefined) }
}

describe.each(Object.entries(cases))('%s', (name, { made: { bytes, batches }, recipe }) => {
  const make = async (more: Partial<QuantizeOptions> = {}): Promise<Made> => {
    const host = await openOnnx(bytes)
    try {
      const { artifact, report } = await quantize(host, { ...resolveRecipe({ lowbit: 1, ...recipe }, ALGORITHMS), calibration: batches, linalg: bestLinAlg(), ...more })
      return result(artifact.bytes(), report)
    } finally {
      await host.dispose()
    }
  }

  it('gives one file and one report: fresh, on threads, resumed, in a worker', async () => {
    const fresh = await make()
    expect(fresh.report.sites.filter((s) => s.status !== 'quantized')).toEqual([])
    expect(fresh.report.sites.some((s) => s.kind === 'stored')).toBe(true)

    const runner = workerRunner(jobWorker, { workers: 2 })
    expect(await make({ runner })).toEqual(fresh)
    runner.close()

    const work = join(folder, name)
    expect(await make({ jobs: halfOf(folderStore(work)) })).toEqual(fresh)
    const resumed = folderStore(work)
    expect(await make({ jobs: resumed })).toEqual(fresh)
    expect(resumed.resumed).toBeGreaterThan(1)

    const { port1, port2 } = new MessageChannel()
    serveQuantize({ port: port2, open: () => openOnnx(bytes), algorithms: ALGORITHMS, linalg: bestLinAlg() })
    const { bytes: artifact, report } = await quantizeInWorker([port1], { model: 'here', options: recipe, calibration: batches })
    expect(result(artifact, report)).toEqual(fresh)
    port1.close()
  })

  it('ends where the damage is measured when it is told to, and the host gives the same afterwards', async () => {
    const fresh = await make()
    const host = await openOnnx(bytes)
    const controller = new AbortController()
    const run = host.run.bind(host)
    host.run = (...args) => {
      controller.abort()
      return run(...args)
    }
    const options = { ...resolveRecipe({ lowbit: 1, ...recipe }, ALGORITHMS), calibration: batches, linalg: bestLinAlg() }
    // Static models are measured by the search for fallbacks, where it is asked for.
    const measured = options.activations === undefined ? options : { ...options, activations: { ...options.activations, rescue: false } }
    await expect(quantize(host, { ...measured, signal: controller.signal })).rejects.toThrow(/LOWBIT_ABORTED/)
    host.run = run
    const { artifact, report } = await quantize(host, options)
    expect(result(artifact.bytes(), report)).toEqual(fresh)
    await host.dispose()
  })
})
