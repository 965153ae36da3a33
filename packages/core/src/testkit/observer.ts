import type { RangeCodes, RangeObserver, RangeSource } from '../contract/v2/observer.js'
import type { StatisticValues } from '../contract/v2/statistics.js'
import { isLowbitError } from '../errors.js'
import { HistogramObserver } from '../observer/histogram.js'
import { MinMaxObserver } from '../observer/min-max.js'
import { quantize } from '../pipeline/quantize.js'
import { checkPlugin } from '../plugin.js'
import { int8 } from '../weight-scheme.js'
import { check, type TestRunner } from './runner.js'
import { toyBatches } from './toy-data.js'
import { toyHost } from './toy-host.js'
import { toyRandom } from './toy-random.js'

export interface ObserverSuiteOptions {
  readonly runner: TestRunner
  readonly factory: () => RangeObserver
}

const CODES: readonly RangeCodes[] = [
  { dtype: 'uint8', symmetric: false },
  { dtype: 'int8', symmetric: true },
  { dtype: 'uint16', symmetric: false },
]

/** What every observer of activation ranges must do. Run it with your test runner. */
export function observerSuite({ runner, factory }: ObserverSuiteOptions): void {
  runner.describe(`observer ${factory().name}`, () => {
    runner.it('is a plugin whose configuration is JSON', () => {
      const plugin = checkPlugin(factory(), 'observer')
      check(JSON.stringify(JSON.parse(JSON.stringify(plugin.config))) === JSON.stringify(plugin.config), 'config does not survive JSON')
      check(['range', 'histogram'].includes(plugin.statistic), `looks at ${String(plugin.statistic)}`)
      check(['run', 'batch'].includes(plugin.per), `is shown each ${String(plugin.per)}`)
    })

    for (const codes of CODES) {
      runner.it(`gives finite limits within what was seen, the same twice: ${codes.dtype}${codes.symmetric ? ' symmetric' : ''}`, () => {
        const observer = factory()
        const batches = [1, 2, 3, 4, 5].map((seed) => normal(seed, 500))
        const [a, b] = [rangeOf(observer, codes, batches), rangeOf(observer, codes, batches)]
        check(a.min === b.min && a.max === b.max, 'two streams over the same batches differ')
        check(Number.isFinite(a.min) && Number.isFinite(a.max) && a.min < a.max, `limits [${a.min}, ${a.max}]`)
        const top = Math.max(...batches.flatMap((batch) => [...batch].map(Math.abs)))
        check(a.min >= -top && a.max <= top, `limits [${a.min}, ${a.max}] beyond the ${top} that was seen`)
      })
    }

    runner.it('takes zeros, one value, and values of one sign', () => {
      const observer = factory()
      for (const values of [[0, 0, 0], [2.5], [1, 2, 3], [-3, -2, -1]]) {
        const { min, max } = rangeOf(observer, { dtype: 'uint8', symmetric: false }, [Float32Array.from(values)])
        check(Number.isFinite(min) && Number.isFinite(max) && min <= max, `limits [${min}, ${max}] for ${values.join(', ')}`)
      }
    })

    runner.it('holds no more after many batches', () => {
      const observer = factory()
      const stream = observer.start({ dtype: 'uint8', symmetric: false })
      const values = normal(1, 64)
      stream.add(statistic(observer, [values]))
      const { bytes } = stream
      if (observer.per === 'batch') for (let i = 0; i < 200; i++) stream.add(statistic(observer, [values]))
      check(stream.bytes <= bytes, `${stream.bytes} bytes, ${bytes} after one batch`)
    })

    runner.it('keeps the streams of two activations apart', () => {
      const observer = factory()
      const codes: RangeCodes = { dtype: 'uint8', symmetric: false }
      const [small, large] = [observer.start(codes), observer.start(codes)]
      small.add(statistic(observer, [normal(1, 200)]))
      large.add(statistic(observer, [normal(2, 200).map((v) => 100 * v)]))
      check(small.range().max < large.range().max / 10, 'one stream shows what the other saw')
    })

    runner.it('says so when nothing was seen', () => {
      try {
        factory().start({ dtype: 'uint8', symmetric: false }).range()
      } catch (error) {
        check(isLowbitError(error, 'LOWBIT_CALIBRATION'), `threw ${String(error)}`)
        return
      }
      check(false, 'a range of nothing')
    })

    runner.it('quantizes a model', async () => {
      const { report } = await quantize(toyHost(), { weights: int8(), activations: { dtype: 'uint8', observer: factory(), rescue: false }, calibration: toyBatches() })
      check(report.activations.some((a) => a.status === 'quantized'), 'no activation was quantized')
      check(report.plugins.some((p) => p.name === factory().name), 'the report does not name it')
    })
  })
}

function normal(seed: number, count: number): Float32Array {
  const random = toyRandom(seed)
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(Math.max(random(), 1e-12))) * Math.cos(2 * Math.PI * random()))
}

function rangeOf(observer: RangeObserver, codes: RangeCodes, batches: readonly Float32Array[]): { readonly min: number; readonly max: number } {
  const stream = observer.start(codes)
  if (observer.per === 'run') stream.add(statistic(observer, batches))
  else for (const batch of batches) stream.add(statistic(observer, [batch]))
  return stream.range()
}

function statistic(observer: RangeObserver, batches: readonly Float32Array[]): StatisticValues[RangeSource] {
  const seen = observer.statistic === 'range' ? new MinMaxObserver() : new HistogramObserver()
  for (const data of batches) seen.observe({ dtype: 'float32', shape: [data.length], data: Float32Array.from(data) })
  return seen.result()
}
