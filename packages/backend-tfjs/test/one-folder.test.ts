import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { int8, quantize } from '@lowbit/core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openLayersModel } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let folder: string
beforeAll(async () => {
  await useBackend('cpu')
  folder = await mkdtemp(join(tmpdir(), 'lowbit-folder-'))
})
afterAll(() => rm(folder, { recursive: true }))

const build = (seed: number) => tf.sequential({ layers: [tf.layers.dense({ units: 4, inputShape: [6], kernelInitializer: tf.initializers.glorotNormal({ seed }) })] })

it('keeps the weights of two layers models in one folder apart', async () => {
  const results: Uint8Array[] = []
  for (const [name, seed] of [['a', 1], ['b', 2]] as const) {
    const host = await openLayersModel(tf, build(seed))
    const { artifact } = await quantize(host, { weights: int8({ perTensor: true }), format: 'layers' })
    await artifact.save(join(folder, `${name}.json`))
    results.push(artifact.bytes())
    await host.dispose()
  }
  expect(await readdir(folder)).toHaveLength(4)
  for (const [i, name] of ['a', 'b'].entries()) {
    const saved = JSON.parse(await readFile(join(folder, `${name}.json`), 'utf8')) as { weightsManifest: { paths: string[] }[] }
    const whole = JSON.parse(new TextDecoder().decode(results[i])) as { weightData: string }
    const side = await readFile(join(folder, saved.weightsManifest[0].paths[0]))
    expect(side.toString('base64')).toBe(whole.weightData)
  }
})

it('refuses settings that the format does not read', async () => {
  const host = await openLayersModel(tf, build(1))
  await expect(quantize(host, { weights: int8(), format: 'dequantize', settings: { accuracyLevel: 4 } })).rejects.toThrow(/LOWBIT_ARGUMENT: setting accuracyLevel: does nothing with format dequantize/)
  await expect(quantize(host, { weights: int8(), format: 'dequantize', settings: { scale: 'float16' } })).rejects.toThrow(/did you mean scales\?/)
  await expect(host.emit('layers', { settings: { scales: 'float16' } })).rejects.toThrow(/does nothing with format layers/)
  await host.dispose()
})
