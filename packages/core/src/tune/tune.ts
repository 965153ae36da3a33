import type { Artifact, Batch, BatchSource, ModelHost } from '../contract/v2/host.js'
import { LowbitError, throwIfAborted } from '../errors.js'
import { resolveOptions } from '../options/check-options.js'
import type { DeclarationsOf } from '../options/declaration.js'
import { QUANTIZE_OPTIONS } from '../options/quantize-options.js'
import { repeatable } from '../pipeline/batches.js'
import { DEFAULT_MAX_MEMORY } from '../pipeline/default-memory.js'
import type { JobResult, JobStore, QuantizeOptions } from '../pipeline/options.js'
import { quantize, type QuantizeResult } from '../pipeline/quantize.js'
import type { OnProgress } from '../progress.js'
import type { Report } from '../report/report.js'

/** One recipe of the ladder. */
export interface Rung {
  readonly name: string
  readonly options: QuantizeOptions
}

/** A model to be judged: run it, or load the artifact elsewhere. */
export interface Candidate {
  run(batch: Batch): Promise<Batch>
  /** Absent for the float model. */
  readonly artifact?: Artifact
}

/** A trial that was made: what was tried and how it did. */
export interface Trial {
  readonly rung: string
  /** Sites left in float beyond those of the rung. */
  readonly float: readonly string[]
  readonly metric: number
  readonly bytes: number
  readonly reached: boolean
}

/** Keeps trials, so that tuning that was stopped goes on where it was. */
export interface Journal {
  load(key: string): Promise<Trial | undefined>
  save(key: string, trial: Trial): Promise<void>
}

export interface TuneOptions {
  /** Cheapest (smallest) first: the first that reaches the target wins. */
  readonly ladder: readonly Rung[]
  /** Higher is better: accuracy, or a negated error or perplexity. */
  readonly metric: (candidate: Candidate) => Promise<number>
  /** How much lower than the float model's the metric may be. */
  readonly tolerance: number
  /** Sites that may be left in float at each rung before the next is tried. Default: an eighth of them, at least 1. */
  readonly maxFloat?: number
  readonly journal?: Journal
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
  /** Told after each trial. */
  readonly onTrial?: (trial: Trial) => void
}

const RUNG_OPTIONS = {
  name: { type: 'text', required: true, about: 'name of the recipe, in trials and their journal' },
  options: { type: 'options', options: QUANTIZE_OPTIONS, required: true, about: 'what quantize is given' },
} as const satisfies DeclarationsOf<Rung>

/** What {@link tune} takes. */
export const TUNE_OPTIONS = {
  ladder: { type: 'list', of: { type: 'options', options: RUNG_OPTIONS }, required: true, about: 'recipes, cheapest first' },
  metric: { type: 'function', required: true, about: 'judges a model: higher is better' },
  tolerance: { type: 'number', required: true, about: 'how much lower than that of the float model the metric may be' },
  maxFloat: { type: 'integer', minimum: 0, otherwise: 'an eighth of the sites', about: 'sites that may be left in float at each rung' },
  journal: { type: 'object', has: ['load', 'save'], about: 'keeps trials, so that tuning goes on where it stopped' },
  signal: QUANTIZE_OPTIONS.signal,
  onProgress: QUANTIZE_OPTIONS.onProgress,
  onTrial: { type: 'function', about: 'told after each trial' },
} as const satisfies DeclarationsOf<TuneOptions>

export interface TuneResult {
  /** Metric of the float model. */
  readonly float: number
  readonly trials: readonly Trial[]
  /** The trial that won, and how to make it again; absent if none reached the target. */
  readonly best?: { readonly trial: Trial; readonly options: QuantizeOptions }
}

/**
 * Finds the cheapest recipe that keeps a metric within a tolerance. Each rung is tried whole; where it misses, sites go back to
 * float in the order of the damage that the report predicts, twice as many each time, then as few as still do. If that takes more
 * bytes than a later rung that is good enough whole, the later one wins.
 *
 * @param open - a freshly opened model each time it is called, for the rung that is to be tried, or for the float model
 * @throws LOWBIT_ABORTED; LOWBIT_ARGUMENT naming an option, of a rung too, before anything is opened, or for a metric that is no number on the float model
 */
export async function tune(open: (rung?: Rung) => Promise<ModelHost>, given: TuneOptions): Promise<TuneResult> {
  resolveOptions<TuneOptions, typeof TUNE_OPTIONS>(TUNE_OPTIONS, given, 'tune')
  const options = { ...given, ladder: await withReplayable(given.ladder) }
  if (options.ladder.length === 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'tune', found: 'an empty ladder', expected: 'at least one recipe' })
  const float = await floatMetric(open, options)
  const trials: Trial[] = []
  const target = float - options.tolerance
  for (const [index, rung] of options.ladder.entries()) {
    const found = await new RungTrials(open, rung, options, target, trials).search()
    if (found === undefined) continue
    const best = { trial: found, options: withFloat(rung.options, found.float) }
    return { float, trials, best: found.float.length === 0 ? best : ((await smallerLater(open, options.ladder.slice(index + 1), options, target, trials, found)) ?? best) }
  }
  return { float, trials }
}

/** Rungs often share their data: what gives its batches once is taken whole once, for all of them. */
async function withReplayable(ladder: readonly Rung[]): Promise<readonly Rung[]> {
  const taken = new Map<BatchSource, BatchSource>()
  const rungs: Rung[] = []
  for (const rung of ladder) {
    const { calibration } = rung.options
    if (calibration !== undefined && !taken.has(calibration)) taken.set(calibration, await repeatable(calibration, rung.options.maxMemory ?? DEFAULT_MAX_MEMORY))
    const data = calibration === undefined ? undefined : taken.get(calibration)
    rungs.push(data === undefined ? rung : { ...rung, options: { ...rung.options, calibration: data } })
  }
  return rungs
}

/** A few sites in float may take more than all sites in the next scheme: later rungs are tried whole for as long as they are smaller. */
async function smallerLater(open: (rung?: Rung) => Promise<ModelHost>, ladder: readonly Rung[], options: TuneOptions, target: number, trials: Trial[], found: Trial): Promise<TuneResult['best']> {
  for (const rung of ladder) {
    const trial = await new RungTrials(open, rung, options, target, trials).whole()
    if (trial.bytes >= found.bytes) return undefined
    if (trial.reached) return { trial, options: rung.options }
  }
  return undefined
}

async function floatMetric(open: (rung?: Rung) => Promise<ModelHost>, { metric }: TuneOptions): Promise<number> {
  const host = await open()
  try {
    const value = await metric({ run: (batch) => host.run(batch) })
    if (!Number.isFinite(value)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'metric', found: `${value} on the float model`, expected: 'a finite number, higher for better' })
    return value
  } finally {
    await host.dispose()
  }
}

/** The trials of one rung, with the ranking that the whole rung's report gave. */
class RungTrials {
  readonly #open: (rung?: Rung) => Promise<ModelHost>
  readonly #rung: Rung
  readonly #options: TuneOptions
  readonly #target: number
  readonly #trials: Trial[]
  readonly #jobs: JobStore | undefined

  constructor(open: (rung?: Rung) => Promise<ModelHost>, rung: Rung, options: TuneOptions, target: number, trials: Trial[]) {
    this.#open = open
    this.#rung = rung
    this.#options = options
    this.#target = target
    this.#trials = trials
    this.#jobs = rung.options.jobs ?? (sitesStandAlone(rung.options) ? new KeptJobs() : undefined)
  }

  /** The rung as it is. */
  whole(): Promise<Trial> {
    return this.#try([])
  }

  async search(): Promise<Trial | undefined> {
    const whole = await this.whole()
    if (whole.reached) return whole
    const ranked = await this.#ranking()
    const limit = Math.min(ranked.length - 1, this.#options.maxFloat ?? Math.max(1, Math.floor(ranked.length / 8)))
    let low = 0
    let high = 0
    let found: Trial | undefined
    for (let count = 1; found === undefined && high < limit; count *= 2) {
      low = high
      high = Math.min(count, limit)
      const trial = await this.#try(ranked.slice(0, high))
      if (trial.reached) found = trial
    }
    // `low` sites were too few, `high` were enough: halve what is between.
    while (found !== undefined && high - low > 1) {
      const middle = (low + high) >> 1
      const trial = await this.#try(ranked.slice(0, middle))
      if (trial.reached) {
        found = trial
        high = middle
      } else low = middle
    }
    return found
  }

  async #try(float: readonly string[]): Promise<Trial> {
    const { signal, journal, onProgress, onTrial } = this.#options
    throwIfAborted(signal, 'tune')
    const key = JSON.stringify([this.#rung.name, float])
    onProgress?.({ phase: 'compare', done: this.#trials.length, total: this.#trials.length + 1, item: `${this.#rung.name}, ${float.length} sites in float` })
    const kept = await journal?.load(key)
    // What is good enough may have changed since the trial was kept.
    const trial = kept === undefined ? await this.#measure(float) : { ...kept, reached: kept.metric >= this.#target }
    if (kept === undefined) await journal?.save(key, trial)
    this.#trials.push(trial)
    onTrial?.(trial)
    return trial
  }

  async #measure(float: readonly string[]): Promise<Trial> {
    return this.#quantized(float, async (host, { artifact }) => {
      const metric = await this.#options.metric({ run: (batch) => host.run(batch), artifact })
      return { rung: this.#rung.name, float, metric, bytes: artifact.size, reached: metric >= this.#target }
    })
  }

  /** Sites by predicted damage, worst first. Quantized once more: a resumed run has no report to read. */
  async #ranking(): Promise<readonly string[]> {
    return this.#quantized([], async (_, { report }) => rankSites(report))
  }

  async #quantized<T>(float: readonly string[], use: (host: ModelHost, result: QuantizeResult) => Promise<T>): Promise<T> {
    const { signal } = this.#options
    const host = await this.#open(this.#rung)
    try {
      return await use(
        host,
        await quantize(host, { ...withFloat(this.#rung.options, float), ...(signal === undefined ? {} : { signal }), ...(this.#jobs === undefined ? {} : { jobs: this.#jobs }) }),
      )
    } finally {
      await host.dispose()
    }
  }
}

/** Rounded sites of a rung: what stays in float elsewhere does not change them. */
class KeptJobs implements JobStore {
  readonly #results = new Map<string, JobResult>()

  load(site: string): Promise<JobResult | undefined> {
    return Promise.resolve(this.#results.get(site))
  }

  save(site: string, result: JobResult): Promise<void> {
    this.#results.set(site, result)
    return Promise.resolve()
  }
}

/** True if a site's result depends on no decision about another one. */
function sitesStandAlone({ mode, transforms }: QuantizeOptions): boolean {
  return mode !== 'sequential' && (transforms === undefined || transforms.length === 0)
}

/** Quantized sites that own their weight, those that lost most first. */
export function rankSites(report: Report): readonly string[] {
  return report.sites
    .filter((s) => s.status === 'quantized' && s.bytesBefore > 0)
    .sort((a, b) => (a.outputSqnr ?? a.weightSqnr ?? 0) - (b.outputSqnr ?? b.weightSqnr ?? 0))
    .map((s) => s.id)
}

function withFloat(options: QuantizeOptions, float: readonly string[]): QuantizeOptions {
  return float.length === 0 ? options : { ...options, exclude: [...(options.exclude ?? []), ...float] }
}
