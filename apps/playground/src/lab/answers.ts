import { toNumbers, type OnnxHost } from '@lowbit/backend-ort'
import type { Batch, BatchSource, HostTensor } from '@lowbit/core'
import type { Answer, ImageAnswers } from './messages.js'

/** Images whose answers are shown. */
const SHOWN = 12
const TOP = 3

/** What two models that classify say of the first images; nothing for models that do something else. */
export async function imageAnswers(before: OnnxHost, after: OnnxHost, batches: BatchSource, names: readonly string[]): Promise<readonly ImageAnswers[]> {
  const found: ImageAnswers[] = []
  for await (const batch of batches) {
    const name = names[found.length]
    if (name === undefined || found.length >= SHOWN) break
    const [a, b] = [await topOf(before, batch), await topOf(after, batch)]
    if (a === undefined || b === undefined) return []
    found.push({ name, before: a, after: b })
  }
  return found
}

async function topOf(host: OnnxHost, batch: Batch): Promise<readonly Answer[] | undefined> {
  const output = Object.values(await host.run(batch))[0]
  if (output === undefined || !isClasses(output)) return undefined
  const shares = probabilities(toNumbers(output))
  return [...shares.keys()].sort((x, y) => shares[y] - shares[x]).slice(0, TOP).map((i) => [i, shares[i]])
}

/** One row of scores: `[1, classes]`, with any axes of 1 behind. */
function isClasses({ shape, dtype }: HostTensor): boolean {
  const large = shape.filter((d) => d !== 1)
  return large.length === 1 && large[0] >= 2 && large[0] <= 1e5 && dtype.startsWith('float')
}

/** Scores as they are where they are probabilities, else their softmax. */
function probabilities(scores: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(scores)
  const sum = values.reduce((a, b) => a + b, 0)
  if (values.every((v) => v >= 0 && v <= 1) && Math.abs(sum - 1) < 1e-2) return values
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity)
  const powers = values.map((v) => Math.exp(v - largest))
  const total = powers.reduce((a, b) => a + b, 0)
  return powers.map((p) => p / total)
}
