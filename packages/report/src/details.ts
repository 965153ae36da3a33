import { type BatchSource, describeScheme, type HistogramStatistic, type ModelHost, type Report, type SiteReport } from '@lowbit/core'

/** Distributions are drawn for this many sites. */
export const DETAILED_SITES = 6
/** Bars of a distribution. */
const BINS = 96

/** A distribution with the range that codes can express. */
export interface Distribution {
  readonly title: string
  /** Left edge of the first bar and right edge of the last. */
  readonly low: number
  readonly high: number
  readonly counts: readonly number[]
  /** Limits of what the codes reach, where one pair describes the whole tensor. */
  readonly range?: readonly [number, number]
  /** Share of the values outside that range. */
  readonly clipped?: number
}

/** What the report page shows beside the report itself. */
export interface ReportDetails {
  readonly weights: readonly Distribution[]
  readonly activations: readonly Distribution[]
}

/** Looks closer at the sites that lost most: their weights, and with data their inputs. Run before the host is disposed. */
export async function reportDetails(host: ModelHost, report: Report, calibration: BatchSource | undefined): Promise<ReportDetails> {
  const worst = worstSites(report, DETAILED_SITES)
  const weights: Distribution[] = []
  for (const site of worst) {
    const { data } = await host.readWeight(site.id)
    const { scheme } = site
    weights.push(distribution(`${site.id}, weights${scheme === undefined ? '' : `, ${describeScheme(scheme)}`}`, data))
  }
  const readers = new Map(host.activations().flatMap((a) => a.sites.map((s) => [s, a.id] as const)))
  const points = new Map(report.activations.map((a) => [a.id, a]))
  const inputs = host.sites().filter((s) => worst.some((w) => w.id === s.id) && s.kind !== 'embedding' && s.kind !== 'stored')
  if (calibration === undefined || inputs.length === 0) return { weights, activations: [] }
  const requests = inputs.map((s) => ({ statistic: 'histogram', target: { tensor: readers.get(s.id) ?? s.input.name } }) as const)
  const statistics = await host.observe(requests, calibration, { model: 'original' })
  const activations = inputs.flatMap((site, i): Distribution[] => {
    const seen = statistics.get(requests[i])
    if (seen === undefined) return []
    const point = points.get(readers.get(site.id) ?? site.input.name)
    return [coarser(`${site.id}, input`, seen, point?.scale === undefined ? undefined : codeLimits(point.dtype ?? 'uint8', point.scale, point.zeroPoint ?? 0))]
  })
  return { weights, activations }
}

/** Quantized sites, those that lost most first. */
export function worstSites(report: Report, count: number): readonly SiteReport[] {
  return report.sites
    .filter((s) => s.status === 'quantized' && s.bytesBefore > 0)
    .sort((a, b) => (a.outputSqnr ?? a.weightSqnr ?? 0) - (b.outputSqnr ?? b.weightSqnr ?? 0))
    .slice(0, count)
}

function codeLimits(dtype: string, scale: number, zeroPoint: number): readonly [number, number] {
  const bits = dtype.endsWith('16') ? 16 : 8
  const low = dtype.startsWith('u') ? 0 : -(2 ** (bits - 1))
  return [(low - zeroPoint) * scale, (low + 2 ** bits - 1 - zeroPoint) * scale]
}

function distribution(title: string, data: Float32Array): Distribution {
  let low = Infinity
  let high = -Infinity
  for (const v of data) {
    low = Math.min(low, v)
    high = Math.max(high, v)
  }
  const counts = new Array<number>(BINS).fill(0)
  const width = high > low ? (high - low) / BINS : 1
  for (const v of data) counts[Math.min(BINS - 1, Math.floor((v - low) / width))]++
  return { title, low, high, counts }
}

function coarser(title: string, seen: HistogramStatistic, range: readonly [number, number] | undefined): Distribution {
  const { min, max, low, high, counts } = seen
  const out = new Array<number>(BINS).fill(0)
  const width = max > min ? (max - min) / BINS : 1
  const step = (high - low) / counts.length
  let outside = 0
  for (const [i, count] of counts.entries()) {
    const centre = low + (i + 0.5) * step
    out[Math.max(0, Math.min(BINS - 1, Math.floor((centre - min) / width)))] += count
    if (range !== undefined && (centre < range[0] - step || centre > range[1] + step)) outside += count
  }
  return { title, low: min, high: max, counts: out, ...(range === undefined ? {} : { range, clipped: seen.count === 0 ? 0 : outside / seen.count }) }
}
