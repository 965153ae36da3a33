import type { RoundingAlgorithm, RoundingJob, RoundingResult, TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { ActivationParams, BatchSource, OperatorChoice } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import type { RangeObserver } from '../contract/v2/observer.js'
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
  /** Which range is taken from what was seen, by one of core's own observers. Default `mse`. */
  readonly method?: 'minmax' | 'moving-average' | 'percentile' | 'entropy' | 'mse'
  /** What takes the range, in place of `method`: an observer with options of its own, or a third party's. */
  readonly observer?: RangeObserver
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

/** What the rounding of a weight does to one site that reads it. */
export interface ReaderResult {
  /** Id of the site. */
  readonly id: string
  /** Absent without a Gram matrix, or where it would cost too much. */
  readonly outputSqnr?: number
  /** `[N]`: with bias correction, what is added to the site's bias. */
  readonly meanShift?: Float32Array
}

/** All that a run takes from the rounding of a site: with it, nothing of the site is observed or measured again. */
export interface JobResult extends RoundingResult {
  readonly weightSqnr: number
  /** The sites that multiply by the weight, of which something was seen. */
  readonly readers: readonly ReaderResult[]
}

/** What the results of a run depend on. Stores and caches keep nothing for another one. */
export interface WorkIdentity {
  /** SHA-256 of the model as opened, external data included. */
  readonly model: string
  /** SHA-256 of the calibration data. */
  readonly data: string
  /** `name@version` of core, host and algorithms, and the linear algebra that they are given. */
  readonly made: readonly string[]
  /** Options that change the result. */
  readonly options: Json
}

/** Keeps sites that are done, so that a killed run goes on where it stopped. */
export interface JobStore {
  /** Stands for the data, where the caller knows it by less than its bytes. Default: SHA-256 over all batches. */
  readonly data?: string
  /**
   * Told before anything else what the results depend on: what is kept under another identity is not given. A store without it
   * belongs to one model, recipe and data.
   */
  open?(identity: WorkIdentity): Promise<void>
  /** `undefined` also for what is damaged: it is computed again. */
  load(site: string): Promise<JobResult | undefined>
  save(site: string, result: JobResult): Promise<void>
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
  /**
   * Bytes for statistics at any one time; a single one that takes more is refused. Default 512 MiB, or what the largest single one
   * takes, up to 4 GiB.
   */
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
