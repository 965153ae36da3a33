import type { RoundingAlgorithm } from '../contract/v2/algorithm.js'
import type { BatchSource, ModelHost, Site } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import { LowbitError, throwIfAborted } from '../errors.js'
import { fastLinAlg } from '../linalg/fast.js'
import { resolveOptions } from '../options/check-options.js'
import type { DeclarationsOf } from '../options/declaration.js'
import { QUANTIZE_OPTIONS } from '../options/quantize-options.js'
import { batchCount, repeatable } from '../pipeline/batches.js'
import { chunkByMemory, collect, memoryFor } from '../pipeline/collect.js'
import { DEFAULT_MAX_MEMORY } from '../pipeline/default-memory.js'
import { readersOf } from '../pipeline/readers.js'
import { checkPlugin } from '../plugin.js'
import { schemeBytes, weightBytes } from '../pipeline/size.js'
import type { OnProgress } from '../progress.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { rtn } from '../rounding/rtn.js'
import type { Scheme } from '../scheme.js'
import { cheapestChoices } from './allocate.js'
import { hawqPerturbation } from './hessian.js'
import { ModelOutputs, ratio } from './model-output.js'
import { outputError, outputPower } from './output-error.js'
import { weightTrace } from './weight-trace.js'

/**
 * What damage is.
 * - `model`: squared error over power of the model's outputs with only this site quantized: a run over the data for each site and scheme.
 * - `hessian`: the same as HAWQ-V2 predicts it (Dong et al. 2020): half the mean trace of its Hessian, estimated by Hutchinson's method, times
 *   the squared error of the weight. Two runs over the data for each probe, however many schemes there are.
 * - `output`: squared error over power of the site's own output, from the Gram matrix: quick, and good for comparing schemes at one site, but
 *   an error counts the same wherever it is: bits should not be allocated over sites with it.
 * - `weight`: squared error over power of the weight itself: no data.
 */
export type SensitivityMeasure = 'model' | 'hessian' | 'output' | 'weight'

export const SENSITIVITY_MEASURES: readonly SensitivityMeasure[] = ['model', 'hessian', 'output', 'weight']

export interface SensitivityOptions {
  /** Schemes to try at every site, in any order. */
  readonly schemes: readonly Scheme[]
  /** Needed by every measure but `weight`. */
  readonly calibration?: BatchSource
  /** Default round-to-nearest. */
  readonly rounding?: RoundingAlgorithm
  /** Default `model`. */
  readonly measure?: SensitivityMeasure
  /** `hessian`: random directions that the trace is estimated from. Default 4. */
  readonly probes?: number
  /** Only sites for which this holds. */
  readonly include?: (site: Site) => boolean
  readonly maxMemory?: number
  readonly linalg?: LinAlg
  readonly seed?: number
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

/** What {@link sensitivity} takes. */
export const SENSITIVITY_OPTIONS = {
  schemes: { type: 'list', of: { type: 'scheme' }, required: true, about: 'schemes to try at every site' },
  calibration: QUANTIZE_OPTIONS.calibration,
  rounding: QUANTIZE_OPTIONS.rounding,
  measure: { type: 'choice', values: SENSITIVITY_MEASURES, default: 'model', about: 'what damage is' },
  probes: { type: 'integer', minimum: 1, default: 4, when: { measure: ['hessian'] }, about: 'random directions that the trace is estimated from' },
  include: { type: 'function', about: 'only sites for which this holds' },
  maxMemory: QUANTIZE_OPTIONS.maxMemory,
  linalg: QUANTIZE_OPTIONS.linalg,
  seed: QUANTIZE_OPTIONS.seed,
  signal: QUANTIZE_OPTIONS.signal,
  onProgress: QUANTIZE_OPTIONS.onProgress,
} as const satisfies DeclarationsOf<SensitivityOptions>

/** What one scheme does at one site. */
export interface SensitivityRow {
  readonly site: string
  readonly scheme: Scheme
  /** Squared error over power: 0 is perfect, 1 as bad as nothing. */
  readonly damage: number
  /** Bytes of the weight under this scheme, scales included. */
  readonly bytes: number
  /** Bytes in the model's own float type. */
  readonly floatBytes: number
  /** `hessian`: trace of the site's Hessian and its standard error. */
  readonly trace?: number
  readonly standardError?: number
}

/**
 * The damage of quantizing each site alone, worst first. Sites that share a weight are measured once, at the owner. Leaves the host as
 * it was.
 * @throws LOWBIT_ARGUMENT naming the option, LOWBIT_CALIBRATION without data, LOWBIT_ABORTED.
 */
export async function sensitivity(opened: ModelHost, options: SensitivityOptions): Promise<readonly SensitivityRow[]> {
  const host = checkPlugin(opened, 'host')
  const filled = resolveOptions<SensitivityOptions, typeof SENSITIVITY_OPTIONS>(SENSITIVITY_OPTIONS, options, 'sensitivity')
  const rounding = checkPlugin(options.rounding ?? rtn(), 'rounding')
  const { schemes, measure, probes, linalg = fastLinAlg, seed, signal, onProgress } = filled
  const all = host.sites()
  const measured = all.filter((s) => s.tiedTo === undefined && (options.include?.(s) ?? true)).map((site) => ({ site, readers: readersOf(all, site) })).filter(({ readers }) => readers.length > 0)
  const needs = [...new Set([...schemes.flatMap((s) => rounding.needs(s)), ...(measure === 'output' ? (['gram'] as const) : [])])]
  const calibration = options.calibration === undefined ? undefined : await repeatable(options.calibration, options.maxMemory ?? DEFAULT_MAX_MEMORY)
  const maxMemory = memoryFor(measured.map((w) => ({ ...w, needs })), options.maxMemory, batchCount(calibration))
  const outputs = measure === 'model' || measure === 'hessian' ? await ModelOutputs.of(host, needData(calibration, measure)) : undefined
  const rows: SensitivityRow[] = []
  const observe = { maxMemory, ...(signal === undefined ? {} : { signal }) }
  const tell = (done: number, item?: string): void => onProgress?.({ phase: 'compare', done, total: measured.length * schemes.length, ...(item === undefined ? {} : { item }) })
  for (const chunk of chunkByMemory(measured.map((w) => ({ ...w, needs })), maxMemory)) {
    const statistics = await collect(host, chunk, calibration, observe)
    for (const [i, { site: owner, readers }] of chunk.entries()) {
      // Rounded for what multiplies it: a tied table has no inputs of its own.
      const site = { ...owner, kind: readers[0].kind }
      const weight = await host.readWeight(site.id)
      const trace = measure === 'hessian' && outputs !== undefined ? await weightTrace(host, site, weight, outputs, probes, seed, signal) : undefined
      for (const scheme of schemes) {
        throwIfAborted(signal, 'sensitivity')
        tell(rows.length, site.id)
        const { q } = await rounding.round({ site, weight, scheme, statistics: statistics[i], linalg, seed, ...(signal === undefined ? {} : { signal }) })
        const rounded = dequantize(q).data
        const { gram } = statistics[i]
        const damage = async (): Promise<number> => {
          if (trace !== undefined) return Math.max(0, hawqPerturbation(trace.trace, weight.data, rounded)) / 2
          if (outputs !== undefined) return assigned(host, site.id, q, () => outputs.damage())
          if (gram !== undefined && measure === 'output') return ratio(outputError(weight.data, rounded, site.weight.rows, gram, linalg), outputPower(weight.data, site.weight.rows, gram, linalg))
          return weightDamage(weight.data, rounded)
        }
        const shape = [site.weight.rows, site.weight.columns]
        rows.push({ site: site.id, scheme, damage: await damage(), bytes: schemeBytes(scheme, shape), floatBytes: weightBytes(site), ...(trace === undefined ? {} : { trace: trace.trace, standardError: trace.standardError }) })
      }
    }
  }
  tell(rows.length)
  return rows.sort((a, b) => b.damage - a.damage)
}

function needData(data: BatchSource | undefined, measure: SensitivityMeasure): BatchSource {
  if (data !== undefined) return data
  throw new LowbitError('LOWBIT_CALIBRATION', { thing: `sensitivity by ${measure}`, found: 'no calibration data', fix: 'pass `calibration`, or measure by weight' })
}

async function assigned(host: ModelHost, site: string, q: QTensor, measure: () => Promise<number>): Promise<number> {
  host.assign(site, q)
  try {
    return await measure()
  } finally {
    host.assign(site, null)
  }
}

function weightDamage(weight: Float32Array, rounded: Float32Array): number {
  let noise = 0
  let power = 0
  for (let i = 0; i < weight.length; i++) {
    noise += (rounded[i] - weight[i]) ** 2
    power += weight[i] ** 2
  }
  return ratio(noise, power)
}

/** A scheme a site; `null` where the site stays in float. */
export interface BitAllocation {
  readonly schemes: ReadonlyMap<string, Scheme | null>
  /** Sum of damages. */
  readonly damage: number
  /** Bytes of all weights in the table. */
  readonly bytes: number
}

/**
 * Schemes with the least total damage whose weights fit `bytes` together: exact, see {@link cheapestChoices}. Float is one more choice where
 * `float` is set.
 * @throws LOWBIT_ARGUMENT if nothing fits, with the least size that would.
 */
export function allocateBits(table: readonly SensitivityRow[], bytes: number, { float = true }: { readonly float?: boolean } = {}): BitAllocation {
  const bySite = new Map<string, SensitivityRow[]>()
  for (const row of table) bySite.set(row.site, [...(bySite.get(row.site) ?? []), row])
  const sites = [...bySite.entries()]
  const layers = sites.map(([, rows]) => [...rows.map((r) => ({ cost: r.damage, size: r.bytes })), ...(float ? [{ cost: 0, size: rows[0].floatBytes }] : [])])
  const { choices, cost, size } = cheapestChoices(layers, bytes)
  return { schemes: new Map(sites.map(([site, rows], i) => [site, rows[choices[i]]?.scheme ?? null])), damage: cost, bytes: size }
}
