import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openOnnx } from '@lowbit/backend-ort'
import { quantize, resolveRecipe, type Batch, type JobStore, type QuantizeOptions, type Report } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import { quantizeInWorker, serveJobs, serveQuantize, workerRunner, type Port, type WorkerOptions } from '@lowbit/jobs'
import { folderStore } from '@lowbit/jobs/node'
import { ALGORITHMS } from '../src/recipes/algorithms.js'
import { bestLinAlg } from '../src/jobs/linalg.js'
import { randomTensor } from './support/sandbox.js'

const folder = mkdtempSync(join(tmpdir(), 'lowbit-one-model-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const WIDTH = 128

/** Norm, two products of the norm's output, and two more with bias and Relu between: what each of the recipes has something to do in. */
function bytes(): Uint8Array<ArrayBuffer> {
  const main = graph({
    nodes: [
      node('LayerNormalization', ['x', 'gain', 'shift'], ['n'], { axis: -1 }),
      node('MatMul', ['n', 'w0'], ['a'], {}, '', 'a'),
      node('MatMul', ['n', 'w1'], ['b'], {}, '', 'b'),
      node('Add', ['a', 'b'], ['c']),
      node('Relu', ['c'], ['d']),
      node('MatMul', ['d', 'w2'], ['e'], {}, '', 'e'),
      node('Add', ['e', 'b2'], ['f']),
      node('MatMul', ['f', 'w3'], ['y'], {}, '', 'y'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', WIDTH])],
    outputs: [valueInfo('y', 'float32', ['n', WIDTH])],
    initializers: [
      ...['w0', 'w1', 'w2', 'w3'].map((w, i) => hostToTensor(w, randomTensor([WIDTH, WIDTH], i + 1, 0.08))),
      hostToTensor('gain', randomTensor([WIDTH], 11)),
      hostToTensor('shift', randomTensor([WIDTH], 12)),
      hostToTensor('b2', randomTensor([WIDTH], 13)),
    ],
  })
  return writeOnnx(model(main, { '': 17 }, 8))
}

const data: readonly Batch[] = Array.from({ length: 6 }, (_, i) => ({ x: randomTensor([40, WIDTH], 50 + i) }))

const recipes: Readonly<Record<string, WorkerOptions>> = {
  GPTQ: { weights: { dtype: 'int4', group: 16 }, rounding: '@lowbit/algos-gptq', biasCorrection: true },
  'AWQ, then GPTQ': { weights: { dtype: 'int3', group: 16 }, format: 'dequantize', transforms: [{ use: '@lowbit/algos-awq', config: { grid: 4 } }], rounding: '@lowbit/algos-gptq', biasCorrection: true },
  'SmoothQuant, then static': { weights: { dtype: 'int8' }, format: 'qdq', transforms: ['@lowbit/algos-smoothquant'], activations: { dtype: 'uint8' }, rounding: '@lowbit/algos-gptq', biasCorrection: true },
}

interface Made {
  readonly sha256: string
  readonly report: Report
}

const made = (artifact: Uint8Array, report: Report): Made => ({ sha256: createHash('sha256').update(artifact).digest('hex'), report: { ...report, milliseconds: {} } })
const open = (options: WorkerOptions) => openOnnx(bytes(), { prepare: options.format === 'qdq' })

async function make(recipe: WorkerOptions, more: Partial<QuantizeOptions> = {}): Promise<Made> {
  const host = await open(recipe)
  try {
    const { artifact, report } = await quantize(host, { ...resolveRecipe({ lowbit: 1, ...recipe }, ALGORITHMS), calibration: data, linalg: bestLinAlg(), ...more })
    return made(artifact.bytes(), report)
  } finally {
    await host.dispose()
  }
}

/** Workers of this process; those of the built command are tried where it is packed. */
function jobWorker(): Port {
  const { port1, port2 } = new MessageChannel()
  serveJobs({ port: port2, algorithms: ALGORITHMS, linalg: bestLinAlg() })
  return port1
}

function quantizeWorker(recipe: WorkerOptions): Port & { readonly close: () => void } {
  const { port1, port2 } = new MessageChannel()
  serveQuantize({ port: port2, open: () => open(recipe), algorithms: ALGORITHMS, linalg: bestLinAlg() })
  return port1
}

/** A store that loses some of what it was given, as a run that was killed would have. */
function halfOf(store: JobStore): JobStore {
  let kept = 0
  return { ...store, open: (identity) => store.open?.(identity) ?? Promise.resolve(), load: (site) => store.load(site), save: async (site, result) => (kept++ % 2 === 0 ? store.save(site, result) : undefined) }
}

describe.each(Object.entries(recipes))('%s, with bias correction', (name, recipe) => {
  it('gives one file and one report: fresh, resumed, on threads, with little and much memory, in a worker', async () => {
    const fresh = await make(recipe)
    expect(fresh.report.sites.filter((s) => s.status === 'quantized')).toHaveLength(4)
    expect(await make(recipe)).toEqual(fresh)
    for (const maxMemory of [2 ** 20, 4096 * 2 ** 20]) expect(await make(recipe, { maxMemory })).toEqual(fresh)

    const runner = workerRunner(jobWorker, { workers: 2 })
    expect(await make(recipe, { runner })).toEqual(fresh)
    runner.close()

    const work = join(folder, name)
    expect(await make(recipe, { jobs: halfOf(folderStore(work)) })).toEqual(fresh)
    const resumed = folderStore(work)
    expect(await make(recipe, { jobs: resumed })).toEqual(fresh)
    expect(resumed.resumed).toBe(2)

    const workers = [quantizeWorker(recipe), quantizeWorker(recipe)]
    const { bytes: artifact, report } = await quantizeInWorker(workers, { model: 'here', options: recipe, calibration: data })
    expect(made(artifact, report)).toEqual(fresh)
    for (const worker of workers) worker.close()
  })
})
