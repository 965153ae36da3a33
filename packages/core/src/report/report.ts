import type { Json } from '../contract/v2/plugin.js'
import type { Notes } from '../contract/v2/algorithm.js'
import type { Scheme } from '../scheme.js'

/** What happened at one site. */
export interface SiteReport {
  readonly id: string
  readonly kind: string
  readonly op: string
  /** `[N, K]` */
  readonly shape: readonly [number, number]
  readonly status: 'quantized' | 'float'
  /** Why it stayed in float, or why its scheme is not the one asked for. */
  readonly reason?: string
  readonly scheme?: Scheme
  /** `name@version` of the rounding algorithm. */
  readonly algorithm?: string
  /** SQNR of the weight, dB. */
  readonly weightSqnr?: number
  /** SQNR of the site's output predicted from its Gram matrix, dB; only where one was collected. */
  readonly outputSqnr?: number
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly notes?: Notes
}

/** What happened at one static activation. */
export interface ActivationReport {
  readonly id: string
  readonly status: 'quantized' | 'float'
  readonly reason?: string
  readonly dtype?: string
  readonly scale?: number
  readonly zeroPoint?: number
  /** Range seen in calibration. */
  readonly min?: number
  readonly max?: number
}

/** What a transform did at one fold group. */
export interface TransformReport {
  readonly group: string
  readonly algorithm: string
  readonly applied: readonly string[]
  readonly reason?: string
  readonly notes?: Notes
}

/** Who took part: everything needed to make the same bytes again. */
export interface PluginRecord {
  readonly name: string
  readonly version: string
  readonly config: Json
}

/** One output of two models side by side. */
export interface OutputComparison {
  readonly name: string
  readonly sqnr: number
  readonly cosine: number
  readonly maxError: number
  /** Share of rows with the same largest element, where the last axis has more than one. */
  readonly top1?: number
  readonly count: number
}

/** A site whose sums an integer kernel of x86 without VNNI would get wrong. */
export interface SiteSaturation {
  readonly id: string
  readonly op: string
  /** Share of the sampled sums that would differ. */
  readonly share: number
  /** What they carry over what saturation would add, dB. */
  readonly sqnr: number
}

/** Two models on the same data. Times are medians of interleaved runs, milliseconds. */
export interface Comparison {
  readonly outputs: readonly OutputComparison[]
  readonly batches: number
  readonly sizeBefore: number
  readonly sizeAfter: number
  readonly latencyBefore?: number
  readonly latencyAfter?: number
  /** Sites of the second model whose results depend on the CPU, worst first. Absent: not looked for. */
  readonly saturation?: readonly SiteSaturation[]
  /** Sites ranked by the damage that each does alone, worst first. */
  readonly layers?: readonly { readonly id: string; readonly sqnr: number }[]
}

/** How far a quantized model's outputs are from the original's. */
export interface Damage {
  /** Output signal over noise, dB. */
  readonly sqnr: number
  /** Batches of calibration data it was measured on; 0: estimated from the weights alone. */
  readonly batches: number
}

/** The whole story of a run, as JSON. */
export interface Report {
  readonly lowbit: 1
  readonly core: string
  readonly format: string
  readonly sizeBefore: number
  readonly sizeAfter: number
  readonly plugins: readonly PluginRecord[]
  readonly options: Json
  readonly sites: readonly SiteReport[]
  readonly activations: readonly ActivationReport[]
  readonly transforms: readonly TransformReport[]
  /** Places that looked like sites and were not offered. */
  readonly skipped: readonly { readonly id: string; readonly reason: string; readonly bytes?: number }[]
  readonly warnings: readonly string[]
  /** Absent where nothing was quantized, or where it would have cost too much to measure. */
  readonly damage?: Damage
  readonly comparison?: Comparison
  /** Milliseconds by phase. Not part of the artifact: runs differ. */
  readonly milliseconds: Readonly<Record<string, number>>
}
