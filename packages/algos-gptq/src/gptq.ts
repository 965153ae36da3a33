import {
  LowbitError,
  allocateCodes,
  bitsOf,
  codeGrid,
  describeScheme,
  inSlices,
  paramShape,
  rangeParams,
  refineResult,
  throwIfAborted,
  type CodeGrid,
  type GramStatistic,
  type LinAlg,
  type Notes,
  type QTensor,
  type RoundingAlgorithm,
  type RoundingJob,
  type RoundingResult,
  type Scheme,
  type Slices,
} from '@lowbit/core'
import { factorise, type Hessian } from './hessian.js'
import { describeOptions, resolveGptqOptions, type GptqOptions, type ResolvedOptions } from './options.js'
import { towardsFloat } from './mismatch.js'
import { chooseParams, type ScaleRule } from './scales.js'
import { solve, STRIP, type Problem } from './solve.js'
import { VERSION } from './version.js'

/**
 * GPTQ (Frantar et al. 2022): columns are rounded one after another, and what each rounding does to the layer's output is taken
 * back by the columns still to come, weighted by the Gram matrix of the layer's input.
 *
 * With searched scales what comes out is refined; in sequential mode the weight is moved first towards what the float model puts out
 * (see `mismatch`).
 *
 * Integer codes and tables (NF4, FP4, float8), one scale a row, a group along K or a tensor; symmetric or with zero points. A grouped convolution has one Gram
 * matrix a group. Embeddings have no Gram matrix: they are rounded to nearest on the same grid.
 *
 * @throws LOWBIT_ARGUMENT for options out of range; the job: LOWBIT_CALIBRATION without a Gram matrix, LOWBIT_NONFINITE,
 * LOWBIT_SINGULAR with percdamp 0, LOWBIT_UNSUPPORTED for binary codes or scales along another axis.
 */
export function gptq(options: GptqOptions = {}): RoundingAlgorithm {
  const resolved = resolveGptqOptions(options)
  const inner = typeof resolved.scales === 'string' ? undefined : resolved.scales
  return {
    kind: 'rounding',
    name: '@lowbit/algos-gptq',
    version: VERSION,
    apiVersion: 2,
    config: describeOptions(resolved),
    needs: (scheme) => [...new Set(['gram' as const, ...(inner?.needs(scheme) ?? [])])],
    ...(resolved.mismatch === 0 ? {} : { sequential: () => ['cross-gram' as const] }),
    round: (job) => roundMatched(job, resolved),
  }
}

/** What comes before the columns are taken, where the layers before are rounded already, and what follows. */
async function roundMatched(given: RoundingJob, options: ResolvedOptions): Promise<RoundingResult> {
  const { percdamp, mismatch, refine } = options
  const { job, moved } = await towardsFloat(given, { share: mismatch, percdamp })
  const result = await round(job, options)
  const { gram } = job.statistics
  const better = refine === 0 || gram === undefined || job.site.kind === 'embedding' ? result : await refineResult(result, job, gram, { sweeps: refine, percdamp })
  return moved === 0 ? better : { ...better, notes: { ...better.notes, moved } }
}

async function round(job: RoundingJob, options: ResolvedOptions): Promise<RoundingResult> {
  const thing = `GPTQ of ${job.site.id}`
  const grid = codeGrid(job.scheme, thing)
  const { rows, columns } = job.site.weight
  const groupSize = checkScheme(job.scheme, columns, thing)
  checkWeight(job.weight.data, thing)
  const gram = gramOf(job, thing)
  const base = typeof options.scales === 'string' ? undefined : await options.scales.round(job)
  const granules = Math.ceil(columns / groupSize)
  const codes = allocateCodes(job.scheme.dtype, rows * columns)
  const scales = new Float32Array(rows * granules)
  const zeros = new Float64Array(rows * granules)
  const perGroup = rows / gram.groups
  const warnings: string[] = [...(base?.warnings ?? [])]
  let dead = 0
  let percdamp = options.percdamp
  const weight = Float32Array.from(job.weight.data)
  const wholeTensor = job.scheme.granularity.kind === 'tensor'
  if (wholeTensor) fillTensorParams(weight, grid, scales, zeros)
  if (base !== undefined) copyParams(base.q, grid, scales, zeros)

  for (let g = 0; g < gram.groups; g++) {
    throwIfAborted(job.signal, thing)
    const hessian = await inSlices(factorise(gram, g, thing, job.linalg, options), job.signal, thing)
    dead += hessian.deadCount
    if (hessian.percdamp > percdamp) percdamp = hessian.percdamp
    const part = weight.subarray(g * perGroup * columns, (g + 1) * perGroup * columns)
    if (options.deadColumns === 'zero') for (let i = 0; i < part.length; i++) if (hessian.dead[i % columns] === 1) part[i] = 0
    const rule: ScaleRule = {
      source: typeof options.scales === 'string' && !wholeTensor ? options.scales : 'range',
      negative: grid.table === undefined && (options.negativeScales ?? (job.scheme.granularity.kind === 'group' || bitsOf(job.scheme.dtype) < 4)),
    }
    const known = wholeTensor || base !== undefined
    const problem: Problem = {
      weight: part,
      rows: perGroup,
      columns,
      grid,
      groupSize,
      scales: scales.subarray(g * perGroup * granules, (g + 1) * perGroup * granules),
      zeros: zeros.subarray(g * perGroup * granules, (g + 1) * perGroup * granules),
      fixed: known || options.staticGroups,
      rule,
      codes: codes.subarray(g * perGroup * columns, (g + 1) * perGroup * columns),
    }
    if (!known && options.staticGroups) {
      const original = options.actOrder === 'off' || rule.source !== 'gram' ? hessian : await inSlices(factorise(gram, g, thing, job.linalg, { ...options, actOrder: 'off' }), job.signal, thing)
      await inSlices(staticParams(problem, original, job.linalg), job.signal, thing)
    }
    await inSlices(solve(problem, hessian, { blocksize: options.blocksize, linalg: job.linalg }), job.signal, thing)
    job.onProgress?.({ phase: 'round', done: g + 1, total: gram.groups, item: job.site.id })
  }

  if (percdamp > options.percdamp) warnings.push(`the Gram matrix is not positive definite: damping raised from ${options.percdamp} to ${percdamp}; more calibration samples make it unnecessary`)
  const live = columns - Math.floor(dead / gram.groups)
  if (gram.rows > 0 && gram.rows < live) warnings.push(`${gram.rows} calibration rows for ${live} input columns: ${live - gram.rows} more rows would make the Gram matrix regular`)
  return { q: qTensor(job, codes, scales, zeros, grid), notes: notesOf(gram, percdamp, dead, base), ...(warnings.length === 0 ? {} : { warnings }) }
}

/** Columns that share a scale. */
function checkScheme(scheme: Scheme, columns: number, thing: string): number {
  const g = scheme.granularity
  if (g.kind === 'tensor' || (g.kind === 'channel' && g.axis === 0)) return columns
  if (g.kind === 'group' && g.axis === 1) return Math.min(g.size, columns)
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: describeScheme(scheme), expected: 'one scale a tensor, a row or a group along K' })
}

function checkWeight(weight: Float32Array, thing: string): void {
  const at = weight.findIndex((w) => !Number.isFinite(w))
  if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `weight ${at} is ${weight[at]}`, expected: 'finite weights' })
}

function gramOf(job: RoundingJob, thing: string): GramStatistic {
  const { columns, groups } = job.site.weight
  if (job.site.kind === 'embedding') return { data: identity(columns), groups: 1, size: columns, rows: 0 }
  const gram = job.statistics.gram
  if (gram === undefined) {
    throw new LowbitError('LOWBIT_CALIBRATION', { thing, found: 'no Gram matrix of its input', expected: 'statistics.gram', fix: 'pass calibration data' })
  }
  if (gram.size !== columns || gram.groups !== groups) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `Gram matrices of ${gram.size} columns in ${gram.groups} groups`, expected: `${columns} columns in ${groups} groups` })
  }
  return gram
}

function identity(n: number): Float64Array {
  const h = new Float64Array(n * n)
  for (let i = 0; i < n; i++) h[i * n + i] = 1
  return h
}

function fillTensorParams(weight: Float32Array, grid: CodeGrid, scales: Float32Array, zeros: Float64Array): void {
  const params = rangeParams(grid, weight.reduce((a, b) => Math.min(a, b), 0), weight.reduce((a, b) => Math.max(a, b), 0))
  scales.fill(params.scale)
  zeros.fill(params.zero)
}

function copyParams(q: QTensor, grid: CodeGrid, scales: Float32Array, zeros: Float64Array): void {
  for (let i = 0; i < scales.length; i++) {
    const from = q.params.scales.length === 1 ? 0 : i
    scales[i] = q.params.scales[from]
    zeros[i] = q.params.zeroPoints?.[from] ?? grid.middle
  }
}

/** Scales of all groups from the original weights. */
function* staticParams(problem: Problem, hessian: Hessian, linalg: LinAlg): Slices<void> {
  const { weight, rows, columns: k, groupSize, grid, rule, scales, zeros } = problem
  const granules = Math.ceil(k / groupSize)
  for (let g = 0; g < granules; g++) {
    const from = g * groupSize
    const size = Math.min(groupSize, k - from)
    const factor = new Float64Array(size * size)
    for (let i = 0; i < size; i++) factor.set(hessian.factor.subarray((from + i) * k + from, (from + i) * k + from + size), i * size)
    for (let first = 0; first < rows; first += STRIP) {
      const n = Math.min(STRIP, rows - first)
      const values = Float64Array.from({ length: size * n }, (_, i) => weight[(first + (i % n)) * k + from + Math.floor(i / n)])
      for (const [r, params] of (yield* chooseParams({ grid, values, size, rows: n, factor, linalg }, rule)).entries()) {
        scales[(first + r) * granules + g] = params.scale
        zeros[(first + r) * granules + g] = params.zero
      }
    }
  }
}

function qTensor(job: RoundingJob, codes: QTensor['codes'], scales: Float32Array, zeros: Float64Array, grid: CodeGrid): QTensor {
  const shape = [job.site.weight.rows, job.site.weight.columns]
  const granuleGrid = paramShape(job.scheme.granularity, shape)
  const count = granuleGrid.reduce((a, b) => a * b, 1)
  const zeroPoints = grid.symmetric ? undefined : grid.floatZero ? Float32Array.from(zeros.subarray(0, count)) : Int32Array.from(zeros.subarray(0, count))
  return { scheme: job.scheme, shape, codes, params: { scales: scales.slice(0, count), shape: granuleGrid, ...(zeroPoints === undefined ? {} : { zeroPoints }) } }
}

function notesOf(gram: GramStatistic, percdamp: number, dead: number, base: RoundingResult | undefined): Notes {
  return { rows: gram.rows, percdamp, ...(dead === 0 ? {} : { deadColumns: dead }), ...(base?.notes === undefined ? {} : { scales: base.notes }) }
}
