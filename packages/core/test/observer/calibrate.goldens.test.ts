import { expect } from 'vitest'
import type { HistogramStatistic } from '../../src/contract/v2/statistics.js'
import { divergenceCurve, entropyBins, entropyThreshold, HistogramObserver, MinMaxObserver, MovingAverageObserver, mseRange, mseThreshold, percentileMagnitude, percentileRange, type Observer } from '../../src/observer/index.js'
import { difference, goldenNumbers, runGoldens, type GoldenCase, type GoldenSet, type GoldenTensor, type Tolerance } from '../../../../tools/goldens.js'

type Numeric = Exclude<Tolerance, string>

/** Feeds the stream of a case to an observer, whose memory must not grow. */
function observed<R>(golden: GoldenCase, set: GoldenSet, observer: Observer<R>): R {
  let first = 0
  for (const [i, name] of (golden.inputs['batches'] as string[]).entries()) {
    const { data, shape } = set.tensor(name)
    if (!(data instanceof Float32Array)) throw new Error(`${name} is not float32`)
    observer.observe({ dtype: 'float32', shape, data })
    if (i === 0) first = observer.bytes
    expect(observer.bytes).toBe(first)
  }
  return observer.result()
}

const histogramOf = (golden: GoldenCase, set: GoldenSet): HistogramStatistic => observed(golden, set, new HistogramObserver())
const output = (golden: GoldenCase, set: GoldenSet, role: string): Float64Array => goldenNumbers(set.tensor(golden.outputs[role] ?? ''))
const number = (golden: GoldenCase, name: string): number => Number(golden.params[name])

/** A check against the tolerance that the case states for streaming histograms. */
function streaming(golden: GoldenCase, got: ArrayLike<number>) {
  return (want: GoldenTensor): void => {
    const wrong = difference(got, goldenNumbers(want), golden.tolerance['streaming histogram'] as Numeric)
    if (wrong !== undefined) expect.fail(wrong)
  }
}

function minmax(golden: GoldenCase, set: GoldenSet) {
  const { min, max } = observed(golden, set, new MinMaxObserver())
  return { range: [min[0] ?? NaN, max[0] ?? NaN] }
}

function movingAverage(golden: GoldenCase, set: GoldenSet) {
  const constant = golden.id.endsWith('per-batch') ? number(golden, 'averagingConstant') : 'mean'
  const { min, max } = observed(golden, set, new MovingAverageObserver({ constant }))
  return { range: [min[0] ?? NaN, max[0] ?? NaN] }
}

function percentile(golden: GoldenCase, set: GoldenSet) {
  const histogram = histogramOf(golden, set)
  const percent = number(golden, 'percentile')
  const [two, each] = [percentileRange(histogram, (100 - percent) / 2), percentileRange(histogram, 100 - percent)]
  return {
    absThreshold: streaming(golden, [percentileMagnitude(histogram, percent)]),
    twoSided: streaming(golden, [two.min, two.max]),
    eachSide: streaming(golden, [each.min, each.max]),
  }
}

/** ONNX Runtime's rule on one histogram of everything: the whole stream as one batch. */
function ortPercentile(golden: GoldenCase, set: GoldenSet) {
  const parts = (golden.inputs['batches'] as string[]).flatMap((name) => [...goldenNumbers(set.tensor(name))])
  const observer = new HistogramObserver()
  observer.observe({ dtype: 'float32', shape: [parts.length], data: Float32Array.from(parts) })
  const histogram = observer.result()
  const percent = number(golden, 'percentile')
  if (golden.params['symmetric'] !== true) {
    const { min, max } = percentileRange(histogram, (100 - percent) / 2, 'edge')
    return { range: [min, max] }
  }
  const reach = percentileMagnitude(histogram, percent, 'edge')
  return { range: [Math.max(-reach, histogram.min), Math.min(reach, histogram.max)] }
}

const variantOf = (golden: GoldenCase) => golden.id.split('/')[2] as 'guarded' | 'nvidia' | 'slides'

/** The whole search on the golden histogram is exact; the streaming one is held to the rule in the notes. */
function entropy(golden: GoldenCase, set: GoldenSet) {
  const [levels, absmax] = [number(golden, 'levels'), number(golden, 'absmax')]
  const variant = variantOf(golden)
  if (absmax === 0) return { threshold: () => expect(entropyThreshold(histogramOf(golden, set), { levels, variant })).toBe(0) }
  const sibling = (id: string): GoldenCase => {
    const found = set.cases.find((other) => other.id === id)
    if (found === undefined) throw new Error(`no case ${id}`)
    return found
  }
  const stream = golden.id.split('/')[0] ?? ''
  const reference = sibling(`${stream}/entropy/nvidia/128`)
  const counts = output(reference, set, 'histogram')
  const exact = golden.tolerance['exact search'] as Numeric
  const streamed = entropyThreshold(histogramOf(golden, set), { levels, variant })
  checkStreaming(golden, streamed, output(reference, set, 'divergence'))
  return {
    threshold: (want: GoldenTensor) => {
      const got = (entropyBins(counts, { levels, variant }) * absmax) / 2048
      const wrong = difference([got], goldenNumbers(want), exact)
      if (wrong !== undefined) expect.fail(wrong)
    },
    divergence: (want: GoldenTensor) => {
      const curve = divergenceCurve(counts, levels, golden.params['firstBinRule'] === true).map((value) => (value === Infinity ? 1e300 : value))
      const wrong = difference(curve, goldenNumbers(want), { abs: 1e-9, rel: 1e-9 })
      if (wrong !== undefined) expect.fail(wrong)
    },
    histogram: (want: GoldenTensor) => expect(want.data.length).toBe(2048),
  }
}

function checkStreaming(golden: GoldenCase, got: number, curve: Float64Array): void {
  const absmax = number(golden, 'absmax')
  if (golden.params['streamingComparable'] !== true) {
    expect(got).toBeGreaterThanOrEqual(absmax / 16)
    expect(got).toBeLessThanOrEqual(absmax * 1.001)
    return
  }
  const want = number(golden, 'streamingThreshold')
  if (Math.abs(got / want - 1) <= 0.03) return
  const kept = (got / absmax) * 2048 - 128
  const near = Math.min(...curve.filter((_, i) => Math.abs(i - kept) <= 4))
  const [least, atAbsmax] = [number(golden, 'divergence'), number(golden, 'divergenceAtAbsmax')]
  expect(near).toBeLessThanOrEqual(least + 0.35 * Math.max(0, atAbsmax - least) + 0.02)
}

interface MseTolerance {
  readonly 'streaming histogram': { readonly mseAtChosen: { readonly rel: number } }
}

/** The grid point chosen from a histogram must have nearly the least true error. */
function mse(golden: GoldenCase, set: GoldenSet) {
  const histogram = histogramOf(golden, set)
  const qmax = number(golden, 'qmax')
  const curve = output(golden, set, 'mse')
  const slack = (golden.extra['tolerance'] as MseTolerance)['streaming histogram'].mseAtChosen.rel
  const range = qmax === 255 ? mseRange(histogram, qmax) : undefined
  const share = range === undefined ? mseThreshold(histogram, qmax) / number(golden, 'absmax') : (range.max - range.min) / (Math.max(histogram.max, 0) - Math.min(histogram.min, 0))
  const chosen = (): void => {
    if (number(golden, 'absmax') === 0) return
    const j = Math.round(((1 - share) * 99) / 0.8)
    expect(share).toBeCloseTo(1 - (j * 0.8) / 99, 6)
    expect(curve[j]).toBeLessThanOrEqual(Math.min(...curve) * (1 + slack) + 1e-300)
  }
  return { threshold: chosen, range: chosen, mse: () => expect(curve.length).toBe(100) }
}

runGoldens('calibrate', { minmax, 'moving-average': movingAverage, percentile, 'ort-percentile': ortPercentile, entropy, 'ort-entropy': minmax, mse }, { kindOf: (golden) => String(golden.params['method']) })
