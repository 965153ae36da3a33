import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { int4, type TrainingRecipe } from '@lowbit/core'
import { int8Static, lowBit, lsq } from '@lowbit/algos-qat'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkpointFolder, loadCheckpoint, prepare, registerWasmGradients, saveCheckpoint, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
let folder: string
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-'))
})
afterAll(async () => {
  registered.restore()
  await rm(folder, { recursive: true })
})

const build = () =>
  tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [6, 6, 2], filters: 4, kernelSize: 3, name: 'conv', kernelInitializer: tf.initializers.glorotUniform({ seed: 3 }) }),
      tf.layers.batchNormalization({ momentum: 0.9, name: 'norm' }),
      tf.layers.reLU({ name: 'relu' }),
      tf.layers.flatten({ name: 'flat' }),
      tf.layers.dense({ units: 3, name: 'out', kernelInitializer: tf.initializers.glorotUniform({ seed: 5 }) }),
    ],
  })

const recipe = (): TrainingRecipe => ({ ...lowBit(4), batchNorm: 'batch', freezeBatchNorm: 9 })
const optimizers = { adam: () => tf.train.adam(3e-3), momentum: () => tf.train.momentum(1e-2, 0.9), rmsprop: () => tf.train.rmsprop(1e-3), sgd: () => tf.train.sgd(1e-2) }

function batch(step: number) {
  const x = tf.tensor(Float32Array.from({ length: 8 * 72 }, (_, i) => Math.abs(Math.sin(i * 0.3 + step))), [8, 6, 6, 2])
  return { x, y: tf.tensor(Float32Array.from({ length: 24 }, (_, i) => Math.cos(i + step)), [8, 3]) }
}

function start(optimizer: keyof typeof optimizers, wanted = recipe()) {
  const model = build()
  const prepared = prepare(tf, model, wanted)
  model.compile({ optimizer: optimizers[optimizer](), loss: 'meanSquaredError' })
  return { model, prepared }
}

async function steps({ model }: ReturnType<typeof start>, from: number, to: number): Promise<number[]> {
  const losses: number[] = []
  for (let step = from; step < to; step++) {
    const { x, y } = batch(step)
    losses.push(Number(await model.trainOnBatch(x, y)))
  }
  return losses
}

describe('checkpoints', () => {
  for (const optimizer of ['adam', 'momentum', 'rmsprop', 'sgd'] as const) {
    it(`a resumed training gives the same losses to the last bit: ${optimizer}`, async () => {
      const path = join(folder, optimizer)
      const first = start(optimizer)
      await steps(first, 0, 6)
      await saveCheckpoint(tf, first.prepared, checkpointFolder(path), { extra: { position: 6 } })
      const want = await steps(first, 6, 14)
      const second = start(optimizer)
      const extra = await loadCheckpoint(tf, second.prepared, checkpointFolder(path))
      expect(extra).toEqual({ position: 6 })
      expect(second.prepared.step).toBe(6)
      expect(await steps(second, 6, 14)).toEqual(want)
      first.model.dispose()
      second.model.dispose()
    })
  }

  it('follows a model that was compiled before it was prepared', async () => {
    const path = join(folder, 'order')
    const model = build()
    model.compile({ optimizer: optimizers.adam(), loss: 'meanSquaredError' })
    const first = { model, prepared: prepare(tf, model, recipe()) }
    await steps(first, 0, 4)
    await saveCheckpoint(tf, first.prepared, checkpointFolder(path))
    const want = await steps(first, 4, 8)
    const second = start('adam')
    await loadCheckpoint(tf, second.prepared, checkpointFolder(path))
    expect(await steps(second, 4, 8)).toEqual(want)
  })

  it('keeps one generation of files, readable by tfjs itself', async () => {
    const path = join(folder, 'files')
    const run = start('adam')
    await steps(run, 0, 2)
    await saveCheckpoint(tf, run.prepared, checkpointFolder(path))
    await new Promise((resolve) => setTimeout(resolve, 5))
    await saveCheckpoint(tf, run.prepared, checkpointFolder(path))
    expect((await readdir(path)).length).toBe(2)
    const plain = await tf.loadLayersModel(checkpointFolder(path), { strict: false })
    expect(plain.layers.map((l) => l.name)).toContain('conv')
    const kernel = plain.getLayer('conv').getWeights()[0].dataSync()
    expect([...kernel]).toEqual([...run.model.getLayer('conv').getWeights()[0].dataSync()])
  })

  it('refuses another recipe, version, optimizer or file with the reason', async () => {
    const path = join(folder, 'refusals')
    const run = start('adam')
    await steps(run, 0, 1)
    await saveCheckpoint(tf, run.prepared, checkpointFolder(path))
    const other = start('adam', { ...recipe(), weights: { scheme: int4({ group: 8 }), algorithm: lsq() } })
    await expect(loadCheckpoint(tf, other.prepared, checkpointFolder(path))).rejects.toThrow(/LOWBIT_CHECKPOINT.*another recipe: recipe\.weights\.scheme\.granularity/)
    await expect(loadCheckpoint(tf, start('sgd').prepared, checkpointFolder(path))).rejects.toThrow(/LOWBIT_CHECKPOINT.*optimizer/)
    await expect(loadCheckpoint(tf, run.prepared, checkpointFolder(join(folder, 'nowhere')))).rejects.toThrow(/LOWBIT_FILE/)
    const file = join(path, 'model.json')
    const json = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...json, userDefinedMetadata: { lowbit: { ...json.userDefinedMetadata.lowbit, version: 2 } } }))
    await expect(loadCheckpoint(tf, run.prepared, checkpointFolder(path))).rejects.toThrow(/LOWBIT_CHECKPOINT.*version 2/)
    await writeFile(file, JSON.stringify({ ...json, userDefinedMetadata: undefined }))
    await expect(loadCheckpoint(tf, run.prepared, checkpointFolder(path))).rejects.toThrow(/no lowbit section/)
    await writeFile(file, JSON.stringify({ ...json, weightsManifest: [{ ...json.weightsManifest[0], paths: ['../../secret'] }] }))
    await expect(loadCheckpoint(tf, run.prepared, checkpointFolder(path))).rejects.toThrow(/a file of the same folder/)
    await writeFile(file, '{')
    await expect(loadCheckpoint(tf, run.prepared, checkpointFolder(path))).rejects.toThrow(/LOWBIT_CHECKPOINT.*not JSON/)
  })

  it("works with tfjs's own saving", async () => {
    const run = start('adam', int8Static())
    await steps(run, 0, 2)
    const saved: unknown[] = []
    await run.model.save(
      tf.io.withSaveHandler(async (a) => {
        saved.push(...(a.weightSpecs ?? []).map((w) => w.name))
        return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
      }),
    )
    expect(saved.some((name) => String(name).includes('conv/lowbit/activation'))).toBe(true)
  })
})
