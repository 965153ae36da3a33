import { describe, expect, it } from 'vitest'
import { dequantize, fastLinAlg, isCodeType, outputError, quantize, rtn, weightScheme, type RoundingAlgorithm, type Scheme } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'
import { gptq } from '@lowbit/algos-gptq'

/** Every integer scheme below 8 bits and 8 bits themselves, with and without zero points, a scale a channel and a scale a group. */
const SCHEMES = [2, 3, 4, 8].flatMap((bits) =>
  (['int', 'uint'] as const).flatMap((sign) =>
    [undefined, 8].map((group): readonly [string, Scheme] => {
      const dtype = `${sign}${bits}`
      if (!isCodeType(dtype)) throw new Error(dtype)
      const symmetric = sign === 'int'
      return [`${bits} bits, ${symmetric ? 'symmetric' : 'asymmetric'}, ${group === undefined ? 'channels' : `groups of ${group}`}`, weightScheme(dtype, { symmetric, ...(group === undefined ? {} : { group }) })]
    }),
  ),
)

/** Passes rounding through and keeps the output error of every site with an input. */
function watched(inner: RoundingAlgorithm): { readonly rounding: RoundingAlgorithm; readonly errors: Map<string, number> } {
  const errors = new Map<string, number>()
  const rounding: RoundingAlgorithm = {
    ...inner,
    needs: () => ['gram'],
    async round(job) {
      const result = await inner.round(job)
      const { gram } = job.statistics
      if (gram !== undefined) errors.set(job.site.id, outputError(job.weight.data, dequantize(result.q).data, job.site.weight.rows, gram, fastLinAlg))
      return result
    },
  }
  return { rounding, errors }
}

/** Output error of each site, and noise over signal of the model on other data. */
async function measure(inner: RoundingAlgorithm, weights: Scheme): Promise<{ readonly errors: Map<string, number>; readonly noise: number }> {
  const { rounding, errors } = watched(inner)
  const host = toyHost()
  await quantize(host, { weights, rounding, calibration: toyBatches({ seed: 3, batches: 8 }) })
  let noise = 0
  let signal = 0
  for (const batch of toyBatches({ seed: 9, batches: 8 })) {
    const got = await host.run(batch)
    for (const [name, { data }] of Object.entries(await host.run(batch, { model: 'original' }))) {
      data.forEach((v, i) => {
        noise += (Number(v) - Number(got[name].data[i])) ** 2
        signal += Number(v) ** 2
      })
    }
  }
  return { errors, noise: noise / signal }
}

describe('GPTQ beside round-to-nearest on every site of the toy model', () => {
  it.each(SCHEMES)('%s: less output error at each site, and the model no worse', async (_, scheme) => {
    const plain = await measure(rtn(), scheme)
    const mine = await measure(gptq(), scheme)
    expect(mine.errors.size).toBeGreaterThan(5)
    for (const [site, error] of mine.errors) expect(error, site).toBeLessThan(plain.errors.get(site) ?? 0)
    expect(mine.noise).toBeLessThan(plain.noise)
  })
})
