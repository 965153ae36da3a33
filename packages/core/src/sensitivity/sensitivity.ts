import type { RoundingAlgorithm } from '../contract/algorithm.js'
import type { BatchSource, ModelHost, Site } from '../contract/host.js'
import type { LinAlg } from '../contract/linalg.js'
import { throwIfAborted } from '../errors.js'
import { fastLinAlg } from '../linalg/fast.js'
import { chunkByMemory, collect, DEFAULT_MAX_MEMORY } from '../pipeline/collect.js'
import { schemeBytes } from '../pipeline/size.js'
import type { OnProgress } from '../progress.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { rtn } from '../rounding/rtn.js'
import type { Scheme } from '../scheme.js'
import { cheapestChoices } from './allocate.js'
import { outputError, outputPower } from './output-error.js'

export interface SensitivityOptions {
  /** Schemes to try at every site, in any order. */
  readonly schemes: readonly Scheme[]
  readonly calibration: BatchSource
  /** Default round-to-nearest. */
  readonly rounding?: RoundingAlgorithm
  /**
   * `model` (default): squared error over power of the model's outputs with only this site quantized. A run over the data for each site
   * and scheme. `output`: the same of the site's own output, from the Gram matrix: quick, and good for comparing schemes at one site,
   * but an error counts the same wherever it is: an allocation of bits over sites should not be made with it.
   */
  readonly measure?: 'output' | 'model'
  /** Only sites for which this holds. */
  readonly include?: (site: Site) => boolean
  readonly maxMemory?: number
  readonly linalg?: LinAlg
  readonly seed?: number
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

/** What one scheme does at one site. */
export interface SensitivityRow {
  readonly site: string
  readonly scheme: Scheme
  /** Squared error over power: 0 is perfect, 1 as bad as nothing. */
  readonly damage: number
  /** Bytes of the weight under this scheme, scales included. */
  readonly bytes: number
  /** Bytes in float32. */
  readonly floatBytes: number
}

/**
 * The damage of quantizing each site alone, worst first. Sites that share a weight are measured once, at the owner. Leaves the host as
 * it was.
 * @throws LOWBIT_CALIBRATION without data, LOWBIT_ABORTED.
 */
export async function sensitivity(host: ModelHost, options: SensitivityOptions): Promise<readonly SensitivityRow[]> {
  const { schemes, calibration, rounding = rtn(), measure = 'model', maxMemory = DEFAULT_MAX_MEMORY, linalg = fastLinAlg, seed = 0, signal, onProgress } = options
  const sites = host.sites().filter((s) => s.tiedTo === undefined && s.kind !== 'embedding' && (options.include?.(s) ?? true))
  const needs = [...new Set([...schemes.flatMap((s) => rounding.needs(s)), ...(measure === 'output' ? (['gram'] as const) : [])])]
  const reference = measure === 'model' ? await outputsOf(host, calibration) : []
  const rows: SensitivityRow[] = []
  const observe = { maxMemory, ...(signal === undefined ? {} : { signal }) }
  let done = 0
  for (const chunk of chunkByMemory(sites.map((site) => ({ site, needs })), maxMemory)) {
    const statistics = await collect(host, chunk, calibration, observe)
    for (const [i, { site }] of chunk.entries()) {
      const weight = await host.readWeight(site.id)
      for (const scheme of schemes) {
        throwIfAborted(signal, 'sensitivity')
        const { q } = await rounding.round({ site, weight, scheme, statistics: statistics[i], linalg, seed, ...(signal === undefined ? {} : { signal }) })
        const { gram } = statistics[i]
        const damage =
          measure === 'model' || gram === undefined
            ? await modelDamage(host, site.id, q, calibration, reference)
            : ratio(outputError(weight.data, dequantize(q).data, site.weight.rows, gram, linalg), outputPower(weight.data, site.weight.rows, gram, linalg))
        const shape = [site.weight.rows, site.weight.columns]
        rows.push({ site: site.id, scheme, damage, bytes: schemeBytes(scheme, shape), floatBytes: weight.data.length * 4 })
      }
      onProgress?.({ phase: 'compare', done: ++done, total: sites.length, item: site.id })
    }
  }
  return rows.sort((a, b) => b.damage - a.damage)
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

type Outputs = readonly (readonly Float64Array[])[]

async function outputsOf(host: ModelHost, data: BatchSource): Promise<Outputs> {
  const all: Float64Array[][] = []
  for await (const batch of data) {
    const outputs = await host.run(batch)
    all.push(Object.keys(outputs).sort().map((name) => Float64Array.from({ length: outputs[name].data.length }, (_, i) => Number(outputs[name].data[i]))))
  }
  return all
}

async function modelDamage(host: ModelHost, site: string, q: QTensor, data: BatchSource, reference: Outputs): Promise<number> {
  host.assign(site, q)
  try {
    let noise = 0
    let power = 0
    for (const [b, outputs] of (await outputsOf(host, data)).entries()) {
      for (const [o, values] of outputs.entries()) {
        for (let i = 0; i < values.length; i++) {
          noise += (values[i] - reference[b][o][i]) ** 2
          power += reference[b][o][i] ** 2
        }
      }
    }
    return ratio(noise, power)
  } finally {
    host.assign(site, null)
  }
}

const ratio = (noise: number, power: number): number => (noise === 0 ? 0 : noise / power)
