import { LowbitError, rtn, type RoundingAlgorithm } from '@lowbit/core'
import { onTwoLevels, twoLevelTypeOf } from '@lowbit/formats/gguf'
import { VERSION } from '../../version.js'

/**
 * Codes on the two-level scales of a K-quant, found by search without data. As the scales of GPTQ (`gptq({ scales: kScales() })`)
 * it makes what is optimised what is stored: errors of scales that a K-quant does not have never arise. Other schemes get searched
 * scales.
 *
 * Schemes: `twoLevelScheme('Q4_K')` of `@lowbit/formats/gguf`, and of Q3_K and Q2_K, where K is a multiple of 256.
 */
export function kScales(): RoundingAlgorithm {
  const others = rtn({ range: 'search' })
  return {
    kind: 'rounding',
    name: '@lowbit/causal-lm/k-scales',
    version: VERSION,
    apiVersion: 2,
    config: {},
    needs: () => [],
    async round(job) {
      const type = twoLevelTypeOf(job.scheme)
      const { rows, columns } = job.site.weight
      if (type === undefined) return others.round(job)
      if (columns % 256 !== 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: job.site.id, found: `K = ${columns}`, expected: `a multiple of 256, as ${type} has it` })
      return { q: onTwoLevels(type, job.weight.data, [rows, columns], job.site.id) }
    },
  }
}
