import type { RoundingAlgorithm, RoundingJob, RoundingResult, TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { ActivationParams, BatchSource, OperatorChoice } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import type { Json } from '../contract/v2/plugin.js'
import type { OnProgress } from '../progress.js'
import type { Scheme } from '../scheme.js'
import type { CalibrationCache } from './calibration-cache.js'

/** A decision for the sites (or activations) whose id matches. Later overrides win. */
export interface Override {
  /** A site id; `*` and `?` are wildcards, `/…/` a regular expression. */
  readonly match: string
  /** `null` leaves the site in float. */
  readonly weights?: Scheme | null
  readonly rounding?: RoundingAlgorithm
  /** Parameters of an activation, or `null` for float. */
  readonly activation?: ActivationParams | null
}

/** How static activations get their scales. */
export interface StaticActivations {
  readonly dtype: ActivationParams['dtype']
  readonly symmetric?: boolean
  /** Which range is taken from what was seen. Default `mse`. */
  readonly method?: 'minmax' | 'percentile' | 'entropy' | 'mse'
  /** Share of values kept inside, percent; for `percentile`. Default 99.999. */
  readonly percentile?: number
  /** Bins of the histogram behind percentile, entropy and mse. Default 8192. */
  readonly bins?: number
  /** Values of each tensor that a histogram counts in one batch; the limits are always those of all. Default 4096. */
  readonly sample?: number | 'all'
  /** Give the few activations that ruin the model back to float, where the host can find them. Default true. */
  readonly rescue?: boolean
  /** Which operators take part. Default `default`. */
  readonly operators?: OperatorChoice
}

/**
 * Keeps sites that are done, so that a killed run goes on where it stopped. A store belongs to one model, recipe and data:
 * the caller makes the name of its folder from those.
 */
export interface JobStore {
  load(site: string): Promise<RoundingResult | undefined>
  save(site: string, result: RoundingResult): Promise<void>
}

/**
 * Runs rounding jobs somewhere else, such as on worker threads. A job is a value in and a value out, so where it runs cannot
 * change the result.
 */
export interface JobRunner {
  /** Jobs that are under way together. */
  readonly concurrency: number
  /** `undefined` for an algorithm it cannot run elsewhere: the pipeline then runs it itself. */
  run(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<RoundingResult> | undefined
}

export interface QuantizeOptions {
  /** One of `host.supports.formats`. Default: the host's first. */
  readonly format?: string
  /** Scheme of the weights. */
  readonly weights: Scheme
  /** Static activations; absent for weight-only and dynamic formats. */
  readonly activations?: StaticActivations
  /** Default round-to-nearest. */
  readonly rounding?: RoundingAlgorithm
  /** Applied in this order, each to the model the one before left. */
  readonly transforms?: readonly TransformAlgorithm[]
  readonly overrides?: readonly Override[]
  /** Only sites that match; default all. */
  readonly include?: readonly string[]
  /** Sites left in float. */
  readonly exclude?: readonly string[]
  /** Data for statistics; needed if an algorithm or static activations ask for it. */
  readonly calibration?: BatchSource
  /**
   * Keeps statistics between runs. What it has is not observed again; a cache made from another model, other data or other
   * weights is refused.
   */
  readonly calibrationCache?: CalibrationCache
  /**
   * `one-pass`: statistics come from the float model. `sequential`: from the model whose earlier blocks are already quantized,
   * as in the GPTQ paper; as many calibration passes as blocks. Default `one-pass`.
   */
  readonly mode?: 'one-pass' | 'sequential'
  /** Write a model in which nothing was quantized instead of failing with LOWBIT_NOTHING. Default false. */
  readonly allowNothing?: boolean
  /** Moves each site's mean output shift into its bias. Default false. */
  readonly biasCorrection?: boolean
  /** Bytes for statistics at any one time. Default 512 MiB. */
  readonly maxMemory?: number
  readonly linalg?: LinAlg
  /** For algorithms that draw random numbers. Default 0. */
  readonly seed?: number
  readonly jobs?: JobStore
  /** Default: jobs run one after another where `quantize` runs. */
  readonly runner?: JobRunner
  /** Goes to `host.emit`. */
  readonly settings?: Readonly<Record<string, Json>>
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}
