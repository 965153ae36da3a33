import type { RoundingAlgorithm, RoundingJob } from '../contract/v2/algorithm.js'
import { isLowbitError, type ErrorCode } from '../errors.js'
import { referenceLinAlg } from '../linalg/reference.js'
import { checkPlugin } from '../plugin.js'
import { checkQTensor, type QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { rtn } from '../rounding/rtn.js'
import { codeRange, describeScheme, isIntegerCode, type Scheme } from '../scheme.js'
import { outputError } from '../sensitivity/output-error.js'
import { toyJob, type ToyJobOptions } from './jobs.js'
import { check, type TestRunner } from './runner.js'

export interface RoundingSuiteOptions {
  readonly runner: TestRunner
  readonly factory: () => RoundingAlgorithm
  /** Every scheme the algorithm is made for. */
  readonly schemes: readonly Scheme[]
  /** Schemes it must refuse with LOWBIT_UNSUPPORTED. */
  readonly refuses?: readonly Scheme[]
  /**
   * What the algorithm promises against round-to-nearest, on weights and inputs as networks have them: less output error
   * (`output`), less weight error (`weight`). Default: nothing.
   */
  readonly better?: 'output' | 'weight'
}

/** What every rounding algorithm must do. Run it with your test runner. */
export function roundingSuite(options: RoundingSuiteOptions): void {
  const { runner, factory, schemes } = options
  runner.describe(`rounding algorithm ${factory().name}`, () => {
    runner.it('is a plugin whose configuration is JSON', () => {
      const plugin = checkPlugin(factory(), 'rounding')
      check(JSON.stringify(JSON.parse(JSON.stringify(plugin.config))) === JSON.stringify(plugin.config), 'config does not survive JSON')
    })

    for (const scheme of schemes) {
      runner.describe(describeScheme(scheme), () => schemeTests(options, scheme))
    }

    for (const scheme of options.refuses ?? []) {
      runner.it(`refuses ${describeScheme(scheme)}`, () => refuses(factory().round(toyJob({ scheme }).job), ['LOWBIT_UNSUPPORTED'], 'the scheme'))
    }

    const scheme = schemes[0]
    if (factory().needs(scheme).length > 0) {
      runner.it('says so when a statistic it needs is missing', () => refuses(factory().round(toyJob({ scheme, statistics: [] }).job), ['LOWBIT_CALIBRATION'], 'a job without statistics'))
    }

    runner.it('refuses weights that are not finite', async () => {
      for (const value of [Number.NaN, Infinity]) {
        const { job } = toyJob({ scheme })
        job.weight.data[5] = value
        await refuses(factory().round(job), ['LOWBIT_NONFINITE'], `a weight of ${value}`)
      }
    })

    runner.it('stops when asked to', async () => {
      const stop = new AbortController()
      stop.abort()
      await refuses(factory().round({ ...toyJob({ scheme }).job, signal: stop.signal }), ['LOWBIT_ABORTED'], 'an aborted job')
    })
  })
}

function schemeTests({ runner, factory, better }: RoundingSuiteOptions, scheme: Scheme): void {
  const sizes: readonly (readonly [string, Partial<ToyJobOptions>])[] = [
    ['many rows and columns', {}],
    ['one row', { rows: 1 }],
    ['one column', { columns: 1 }],
    ['a short last group', { columns: 41 }],
    ['groups of a convolution', { rows: 8, columns: 18, groups: 2 }],
  ]
  for (const [name, size] of sizes) {
    runner.it(`takes ${name}`, async () => {
      const { job } = toyJob({ scheme, ...size })
      checkResult((await factory().round(job)).q, job)
    })
  }

  runner.it('gives the same twice, and leaves what it is given alone', async () => {
    const { job } = toyJob({ scheme })
    const before = structuredClone({ weight: job.weight, statistics: job.statistics })
    const a = await factory().round(job)
    const b = await factory().round(job)
    check(same(a, b), 'two runs of one job differ')
    check(same(before, { weight: job.weight, statistics: job.statistics }), 'the job was changed')
  })

  runner.it('keeps zeros', async () => {
    const { job } = toyJob({ scheme })
    job.weight.data.fill(0)
    const { q } = await factory().round(job)
    checkResult(q, job)
    if (isIntegerCode(scheme.dtype) && scheme.dtype !== 'binary') check(dequantize(q).data.every((v) => v === 0), 'a weight of zeros is not zero any more')
  })

  if (better === undefined) return
  runner.it(`has less ${better} error than round-to-nearest`, async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { job } = toyJob({ scheme, seed })
      const ours = errorOf((await factory().round(job)).q, job, better)
      const plain = errorOf((await rtn().round(job)).q, job, better)
      check(ours < plain, `seed ${seed}: ${better} error ${ours}, round-to-nearest has ${plain}`)
    }
  })
}

function checkResult(q: QTensor, job: RoundingJob): void {
  checkQTensor(q, 'result')
  check(q.shape[0] === job.weight.shape[0] && q.shape[1] === job.weight.shape[1], `shape [${q.shape.join(', ')}] for a weight [${job.weight.shape.join(', ')}]`)
  check(same(q.scheme, job.scheme), `scheme ${describeScheme(q.scheme)} where ${describeScheme(job.scheme)} was asked for`)
  check(q.params.scales.every(Number.isFinite), 'a scale is not finite')
  if (!isIntegerCode(q.scheme.dtype)) return
  const { min, max } = codeRange(q.scheme.dtype)
  check(q.codes.every((c) => c >= min && c <= max), `codes outside [${min}, ${max}]`)
  check(q.params.zeroPoints === undefined || q.params.zeroPoints.every((z) => Number.isFinite(z)), 'a zero point is not finite')
}

function errorOf(q: QTensor, job: RoundingJob, measure: 'output' | 'weight'): number {
  const values = dequantize(q).data
  const { gram } = job.statistics
  if (measure === 'weight' || gram === undefined) return values.reduce((sum, v, i) => sum + (v - job.weight.data[i]) ** 2, 0)
  return outputError(job.weight.data, values, job.site.weight.rows, gram, referenceLinAlg)
}

async function refuses(work: Promise<unknown>, codes: readonly ErrorCode[], what: string): Promise<void> {
  const error = await work.then(() => undefined, (e: unknown) => e)
  check(error !== undefined, `${what} is accepted`)
  check(codes.some((code) => isLowbitError(error, code)), `${what} gives ${String(error)}, not ${codes.join(' or ')}`)
}

/** Equal values of plain data and typed arrays. */
function same(a: unknown, b: unknown): boolean {
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    const [x, y] = [a, b].map((v) => new Uint8Array(v.buffer, v.byteOffset, v.byteLength))
    return x.length === y.length && x.every((v, i) => v === y[i])
  }
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
  const left = Object.entries(a)
  const right = new Map(Object.entries(b))
  return left.length === right.size && left.every(([k, v]) => same(v, right.get(k)))
}
