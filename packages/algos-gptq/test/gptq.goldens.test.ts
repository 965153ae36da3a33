import { expect } from 'vitest'
import { dequantize, fastLinAlg, isLowbitError, outputError, referenceLinAlg, type GramStatistic, type RoundingJob, type Scheme } from '@lowbit/core'
import { gptq } from '@lowbit/algos-gptq'
import { goldenNumbers, inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenSet } from '../../../tools/goldens.js'

const number = (golden: GoldenCase, name: string): number => Number(golden.params[name])

function jobOf(golden: GoldenCase, set: GoldenSet): { readonly job: RoundingJob; readonly gram: GramStatistic; readonly weight: Float32Array<ArrayBuffer> } {
  const { shape } = inputTensor(set, golden, 'W')
  const [rows, columns] = shape
  const weight = Float32Array.from(inputFloats(set, golden, 'W'))
  // The golden H is 2/samples · XᵀX: with `rows: 2` the statistic stands for the same matrix.
  const gram = { data: goldenNumbers(inputTensor(set, golden, 'H')), groups: 1, size: columns, rows: 2 }
  const size = number(golden, 'groupSize')
  const bits = number(golden, 'bits')
  const scheme: Scheme = {
    dtype: bits === 2 ? 'uint2' : bits === 3 ? 'uint3' : bits === 4 ? 'uint4' : 'uint8',
    granularity: size === columns ? { kind: 'channel', axis: 0 } : { kind: 'group', axis: 1, size },
    symmetric: golden.params['symmetric'] === true,
  }
  const site = { id: golden.id, kind: 'linear', weight: { rows, columns, groups: 1, columnsPerChannel: 1 } } as const
  return { job: { site, weight: { dtype: 'float32', shape, data: weight }, scheme, statistics: { gram }, linalg: fastLinAlg, seed: 0 }, gram, weight }
}

function algorithm(golden: GoldenCase): ReturnType<typeof gptq> {
  return gptq({
    percdamp: number(golden, 'percdamp'),
    blocksize: Number(golden.params['blocksize'] ?? 128),
    actOrder: golden.params['actOrder'] === 'static' ? 'static' : 'off',
    staticGroups: golden.params['staticGroups'] === true,
    scales: golden.params['mse'] === true ? 'mse' : 'range',
    deadColumns: golden.params['deadColumns'] === 'zero' ? 'zero' : 'keep',
  })
}

runGoldens('gptq', {
  async gptq(golden, set) {
    const { job, gram, weight } = jobOf(golden, set)
    const { q, notes } = await algorithm(golden).round(job)
    expect(notes?.['percdamp']).toBe(number(golden, 'percdamp'))
    const dequantized = dequantize(q)
    const [rows] = q.shape
    // The cases give the squared error a sample, summed over outputs: H is 2/samples · XᵀX.
    const error = outputError(weight, dequantized.data, rows, gram, referenceLinAlg) / 2
    const want = number(golden, 'outputErrorGptq')
    expect(Math.abs(error - want) / want).toBeLessThanOrEqual(Number(golden.extra['outputErrorTolerance']))
    if (golden.extra['mustBeatRtn'] === true) expect(error).toBeLessThan(number(golden, 'outputErrorRtn'))
    const zeros = q.params.zeroPoints ?? new Int32Array(q.params.scales.length).fill(2 ** (number(golden, 'bits') - 1))
    return { codes: q.codes, scales: q.params.scales, zeros, dequantized }
  },

  gptqHessian(golden, set) {
    const { data, shape } = inputTensor(set, golden, 'X')
    const [samples, columns] = shape
    const x = Float32Array.from(goldenNumbers({ dtype: 'float32', data }))
    const gram = new Float64Array(columns * columns)
    let at = 0
    for (const rows of golden.params['batches'] as readonly number[]) {
      fastLinAlg.addGram(x.subarray(at * columns, (at + rows) * columns), rows, columns, gram)
      at += rows
    }
    expect(at).toBe(samples)
    return { H: gram.map((v) => (2 * v) / samples) }
  },

  async gptqError(golden, set) {
    const error = await algorithm(golden).round(jobOf(golden, set).job).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_SINGULAR')).toBe(true)
    expect(String(error)).toContain('percdamp')
    return {}
  },
})
