import { expect, describe, it } from 'vitest'
import { dequantize, fastLinAlg, tensor, type CodeType, type QTensor } from '@lowbit/core'
import { hqq, type HqqOptions } from '@lowbit/algos-hqq'
import { goldenNumbers, inputFloats, inputTensor, loadGoldens, runGoldens, type GoldenCase, type GoldenSet } from '../../../tools/goldens.js'

const number = (golden: GoldenCase, name: string): number => Number(golden.params[name])

async function run(w: Float32Array<ArrayBuffer>, rows: number, columns: number, bits: number, size: number, options: HqqOptions): Promise<QTensor> {
  const { q } = await hqq(options).round({
    site: { id: 'golden', kind: 'linear', weight: { rows, columns, groups: 1, columnsPerChannel: 1 } },
    weight: tensor('float32', [rows, columns], w),
    scheme: { dtype: `uint${bits}` as CodeType, granularity: { kind: 'group', axis: 1, size }, symmetric: false, zeroPoint: 'float' },
    statistics: {},
    linalg: fastLinAlg,
    seed: 0,
  })
  return q
}

const meanAbsError = (w: Float32Array, q: QTensor): number => dequantize(q).data.reduce((sum, value, i) => sum + Math.abs(value - (w[i] ?? 0)), 0) / w.length

const copy = (values: Float32Array): Float32Array<ArrayBuffer> => Float32Array.from(values)

runGoldens('hqq', {
  async hqq(golden, set) {
    const { shape } = inputTensor(set, golden, 'W')
    const w = copy(inputFloats(set, golden, 'W'))
    const variant = golden.params['variant']
    expect(['best', 'hqq', 'torchao']).toContain(variant)
    const q = await run(w, shape[0] ?? 0, shape[1] ?? 0, number(golden, 'bits'), number(golden, 'groupSize'), {
      lpNorm: number(golden, 'lpNorm'),
      beta: number(golden, 'beta'),
      // The package's default loop takes kappa and does nothing with it.
      kappa: variant === 'hqq' ? 1 : number(golden, 'kappa'),
      iterations: number(golden, 'iterations'),
      keep: variant === 'best' ? 'best' : 'last',
      start: 'exact',
    })
    expect(Math.abs(meanAbsError(w, q) / number(golden, 'meanAbsErrorHqq') - 1)).toBeLessThanOrEqual(Number(golden.extra['errorTolerance']))
    return { codes: q.codes, scale: q.params.scales, zero: q.params.zeroPoints ?? [], dequantized: dequantize(q).data }
  },
})

/** `[K, N]` → `[N, K]`. */
function transpose(values: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)] ?? NaN)
}

async function ortHqq(golden: GoldenCase, set: GoldenSet): Promise<void> {
  const [K, N, bits, blockSize] = [number(golden, 'K'), number(golden, 'N'), number(golden, 'bits'), number(golden, 'blockSize')]
  const w = transpose(inputFloats(set, golden, 'w'), K, N)
  const q = await run(w, N, K, bits, blockSize, { keep: 'last', padding: 'zeros', start: 'rounded', lpNorm: number(golden, 'lpNorm'), beta: number(golden, 'beta'), kappa: number(golden, 'kappa'), iterations: number(golden, 'iterations') })
  const want = (role: string): Float64Array => goldenNumbers(set.tensor(golden.outputs[role] ?? ''))
  want('scales').forEach((scale, i) => expect(Math.abs((q.params.scales[i] ?? 0) - scale)).toBeLessThanOrEqual(1e-6 * scale))
  const zeroDistance = Array.from(want('zeroPoints'), (zero, i) => Math.abs((q.params.zeroPoints?.[i] ?? NaN) - zero))
  expect(zeroDistance.filter((distance) => distance <= 1e-3).length).toBeGreaterThanOrEqual(0.99 * zeroDistance.length)
  expect(Math.max(...zeroDistance)).toBeLessThanOrEqual(2 / blockSize)
  const codeDistance = Array.from(want('codes'), (code, i) => Math.abs((q.codes[i] ?? NaN) - code))
  expect(codeDistance.filter((distance) => distance === 0).length).toBeGreaterThanOrEqual(0.99 * codeDistance.length)
  expect(Math.max(...codeDistance)).toBeLessThanOrEqual(1)
  expect(Math.abs(meanAbsError(w, q) / number(golden, 'meanAbsError') - 1)).toBeLessThanOrEqual(0.002)
}

describe('goldens nbits, cases hqq', () => {
  const set = loadGoldens('nbits')
  const cases = set.cases.filter((golden) => golden.params['kind'] === 'hqq')
  it('has cases', () => expect(cases.length).toBeGreaterThan(0))
  it.each(cases.map((golden) => [golden.id, golden] as const))('%s', (_, golden) => ortHqq(golden, set))
})
