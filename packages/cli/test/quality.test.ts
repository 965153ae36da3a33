import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { smoothQuant } from '@lowbit/algos-smoothquant'
import { openOnnx, type OnnxHost } from '@lowbit/backend-ort'
import { dequantize, fastLinAlg, int8, isCodeType, outputError, quantize, resolveRounding, rtn, weightScheme, type Batch, type QuantizeOptions, type RoundingAlgorithm, type Scheme } from '@lowbit/core'
import { ALGORITHMS, CALIBRATED_DEFAULT } from '../src/recipes/algorithms.js'
import { classifier } from './support/classifier.js'

const { bytes, calibration, test, labels } = classifier()
const BY_DEFAULT = resolveRounding(CALIBRATED_DEFAULT, ALGORITHMS)

const SCHEMES = [2, 3, 4, 8].flatMap((bits) =>
  (['int', 'uint'] as const).flatMap((sign) =>
    [undefined, 32].map((group): readonly [string, Scheme] => {
      const dtype = `${sign}${bits}`
      if (!isCodeType(dtype)) throw new Error(dtype)
      const symmetric = sign === 'int'
      return [`${bits} bits, ${symmetric ? 'symmetric' : 'asymmetric'}, ${group === undefined ? 'channels' : `groups of ${group}`}`, weightScheme(dtype, { symmetric, ...(group === undefined ? {} : { group }) })]
    }),
  ),
)

/** Share of the 300 answers by which accuracies may differ for no reason. */
const CHANCE = 0.02

interface Measured {
  readonly errors: ReadonlyMap<string, number>
  readonly accuracy: number
  readonly noise: number
}

let float: OnnxHost
let answers: Float32Array
beforeAll(async () => {
  float = await openOnnx(bytes)
  answers = await scoresOf((b) => float.run(b))
})
afterAll(() => float.dispose())

async function scoresOf(run: (batch: Batch) => Promise<Batch>): Promise<Float32Array> {
  const { data } = (await run(test))['y']
  if (!(data instanceof Float32Array)) throw new TypeError('no float32 output')
  return data
}

function accuracyOf(scores: Float32Array): number {
  const classes = scores.length / labels.length
  const right = labels.filter((label, i) => {
    const row = scores.subarray(i * classes, (i + 1) * classes)
    return row.indexOf(row.reduce((a, b) => Math.max(a, b))) === label
  })
  return right.length / labels.length
}

/** Quantizes the classifier and measures sites through their Gram matrices, the model on pictures that it was not calibrated with. */
async function measure(options: QuantizeOptions, written = false): Promise<Measured> {
  const errors = new Map<string, number>()
  const inner = options.rounding ?? rtn()
  const rounding: RoundingAlgorithm = {
    ...inner,
    needs: (scheme) => [...new Set([...inner.needs(scheme), 'gram' as const])],
    async round(job) {
      const result = await inner.round(job)
      const { gram } = job.statistics
      if (gram !== undefined) errors.set(job.site.id, outputError(job.weight.data, dequantize(result.q).data, job.site.weight.rows, gram, fastLinAlg))
      return result
    },
  }
  const host = await openOnnx(bytes, { prepare: written })
  const { artifact } = await quantize(host, { ...options, rounding, calibration })
  const judged = written ? await openOnnx(artifact.bytes()) : host
  const scores = await scoresOf((b) => judged.run(b))
  let noise = 0
  let signal = 0
  scores.forEach((v, i) => {
    noise += (v - answers[i]) ** 2
    signal += answers[i] ** 2
  })
  await host.dispose()
  if (judged !== host) await judged.dispose()
  return { errors, accuracy: accuracyOf(scores), noise: noise / signal }
}

describe('on a model with a task', () => {
  it('the float model knows its task', () => {
    expect(accuracyOf(answers)).toBeGreaterThan(0.9)
  })

  it.each(SCHEMES)('%s: GPTQ and the default beat rounding at every site and in the model', async (_, weights) => {
    const plain = await measure({ format: 'dequantize', weights })
    for (const rounding of [gptq(), BY_DEFAULT]) {
      const mine = await measure({ format: 'dequantize', weights, rounding })
      expect([...mine.errors.keys()]).toEqual(['conv', 'wide', 'middle', 'head'])
      for (const [site, error] of mine.errors) expect(error, `${rounding.name}, ${site}`).toBeLessThan(plain.errors.get(site) ?? 0)
      expect(mine.accuracy).toBeGreaterThanOrEqual(plain.accuracy - CHANCE)
      expect(mine.noise).toBeLessThan(plain.noise)
    }
  })

  it.each([2, 3, 4] as const)('AWQ is not worse than rounding, %i bits', async (bits) => {
    const options: QuantizeOptions = { format: 'dequantize', weights: weightScheme(`int${bits}`, { group: 32 }) }
    const plain = await measure(options)
    const mine = await measure({ ...options, transforms: [awq()] })
    expect(mine.accuracy).toBeGreaterThanOrEqual(plain.accuracy - CHANCE)
    expect(mine.noise).toBeLessThan(plain.noise)
    const both = await measure({ ...options, transforms: [awq({ clip: false })], rounding: gptq() })
    expect(both.noise).toBeLessThan(plain.noise)
  })

  it('SmoothQuant is not worse than static int8 without it', async () => {
    const options: QuantizeOptions = { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' } }
    const plain = await measure(options, true)
    const mine = await measure({ ...options, transforms: [smoothQuant({ alpha: 'search', activations: 'tensor' })] }, true)
    expect(mine.accuracy).toBeGreaterThanOrEqual(plain.accuracy - CHANCE)
    expect(mine.noise).toBeLessThan(plain.noise * 1.05)
  })
})
