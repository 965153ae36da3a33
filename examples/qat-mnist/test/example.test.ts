import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prepare } from '@lowbit/backend-tfjs'
import { expect, it } from 'vitest'
import { deploy } from '../src/deploy.ts'
import { gather, loadDigits, type Digits } from '../src/digits.ts'
import { runSeed } from '../src/experiment.ts'
import { loadTf } from '../src/load-tf.ts'
import { network } from '../src/network.ts'
import { quantizeAfter } from '../src/quantize-after.ts'
import { Results } from '../src/results.ts'
import { rows } from '../src/rows.ts'
import type { Settings } from '../src/settings.ts'
import { curvesOf, tableRows, type Scores } from '../src/table.ts'
import { accuracy, train } from '../src/training.ts'

/** Every n-th digit. */
function thin(digits: Digits, n: number): Digits {
  const indices = Array.from({ length: Math.floor(digits.count / n) }, (_, i) => i * n)
  return { images: gather(digits, indices), labels: Uint8Array.from(indices, (i) => digits.labels[i]), count: indices.length }
}

it('splits the digits by index', () => {
  const { train: learn, test } = loadDigits()
  expect([learn.count, test.count]).toEqual([8004, 1996])
  expect(new Set(test.labels).size).toBe(10)
})

it('learns, quantizes, and runs in ONNX Runtime what it trained', { timeout: 300_000 }, async () => {
  const tf = await loadTf()
  const { train: all, test: allTest } = loadDigits()
  const [learn, test] = [thin(all, 8), thin(allTest, 4)]
  const model = network(tf, 1)
  await train(tf, model, learn, { epochs: 3, batch: 32, learningRate: 4e-3, seed: 1 })
  const float = accuracy(tf, model, test)
  expect(float).toBeGreaterThan(80)
  const row = rows.find((r) => r.title.includes('int2'))
  const [method] = row?.during ?? []
  const [after] = row?.after ?? []
  if (method?.recipe === undefined || after === undefined) throw new Error('no int2 row')
  const rounded = await quantizeAfter(tf, model, after, learn, test)
  const prepared = prepare(tf, model, method.recipe)
  await train(tf, model, learn, { epochs: 2, batch: 32, learningRate: 2e-3, seed: 2 })
  const during = accuracy(tf, model, test)
  expect(during).toBeGreaterThan(rounded)
  const deployed = await deploy(tf, prepared, test)
  // One digit, where a sum in another order decides.
  expect(Math.abs(deployed.accuracy - during)).toBeLessThanOrEqual(100 / test.count)
  expect(Math.abs(deployed.kernels - during)).toBeLessThanOrEqual(100 / test.count)
})

it('keeps each result under what it follows from, trains nothing twice, and shows what is lost against float', { timeout: 300_000 }, async () => {
  const tf = await loadTf()
  const { train: all, test: allTest } = loadDigits()
  const digits = { train: thin(all, 40), test: thin(allTest, 10) }
  const settings: Settings = { batch: 32, float: { epochs: 4, learningRate: 4e-3 }, during: { epochs: 1, learningRate: 1e-3 }, scratch: { epochs: 1, learningRate: 1e-3 } }
  const chosen = rows.filter((r) => r.title === 'ternary').map((r) => ({ ...r, during: r.during.slice(0, 1) }))
  const folder = await mkdtemp(join(tmpdir(), 'lowbit-digits-'))
  const run = async (given: Settings, learn: Digits = digits.train): Promise<Scores> => runSeed({ tf, digits: { train: learn, test: digits.test }, settings: given, results: await Results.open(folder), log: () => undefined }, chosen, 1)
  const first = await run(settings)
  // Nothing to learn from: whatever is trained now fails.
  const nothing: Digits = { images: new Float32Array(0), labels: new Uint8Array(0), count: 0 }
  expect(await run(settings, nothing)).toEqual(first)
  expect(await run({ ...settings, during: { epochs: 2, learningRate: 1e-3 } })).not.toEqual(first)
  const [float, after, during] = tableRows([first], chosen)
  expect(float.slice(0, 3)).toEqual(['float32', '', first.get('float')?.accuracy.toFixed(2)])
  expect([after[1], during[1]]).toEqual(['after training, absmean', 'trained, LSQ'])
  expect(Number(after[2]) + Number(after[3])).toBeCloseTo(Number(float[2]), 1)
  expect(curvesOf(first, chosen).map((c) => c.name)).toEqual(['ternary, LSQ'])
  await rm(folder, { recursive: true })
})
