import { prepare } from '@lowbit/backend-tfjs'
import { expect, it } from 'vitest'
import { deploy } from '../src/deploy.ts'
import { gather, loadDigits, type Digits } from '../src/digits.ts'
import { loadTf } from '../src/load-tf.ts'
import { network } from '../src/network.ts'
import { quantizeAfter } from '../src/quantize-after.ts'
import { rows } from '../src/rows.ts'
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
  if (method === undefined || after === undefined) throw new Error('no int2 row')
  const rounded = await quantizeAfter(tf, model, after, learn, test)
  const prepared = prepare(tf, model, method.recipe)
  await train(tf, model, learn, { epochs: 2, batch: 32, learningRate: 2e-3, seed: 2 })
  const during = accuracy(tf, model, test)
  expect(during).toBeGreaterThan(rounded)
  expect(Math.abs((await deploy(tf, prepared, test)).accuracy - during)).toBeLessThanOrEqual(100 / test.count)
})
