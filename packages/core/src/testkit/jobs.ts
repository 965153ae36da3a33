import type { JobStatistics, RoundingJob } from '../contract/v2/algorithm.js'
import type { StatisticName } from '../contract/v2/statistics.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import { referenceLinAlg } from '../linalg/reference.js'
import type { Scheme } from '../scheme.js'
import { tensor, type HostTensor } from '../tensor.js'
import type { ToySite, ToyTensor } from './toy-model.js'
import { toyNormal, toyRandom } from './toy-random.js'
import { ToyRecord, toyStatistic } from './toy-statistics.js'

export interface ToyJobOptions {
  readonly scheme: Scheme
  readonly rows?: number
  readonly columns?: number
  /** Convolution groups: each has its own inputs. Default 1. */
  readonly groups?: number
  /** Calibration rows. Default 256. */
  readonly samples?: number
  readonly seed?: number
  /** Which statistics the job carries; default all. */
  readonly statistics?: readonly StatisticName[]
  readonly linalg?: LinAlg
}

/** A rounding job, and the activation rows its statistics were taken of, `[samples, groups · columns]`. */
export interface ToyJob {
  readonly job: RoundingJob
  readonly x: HostTensor<'float32'>
}

const ALL: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'gram', 'samples']

/**
 * A job with normal weights and inputs that go together, as those of networks do: a few hidden causes, and every seventh channel
 * loud. On independent inputs error feedback would have nothing to gain.
 */
export function toyJob(options: ToyJobOptions): ToyJob {
  const { scheme, rows = 12, columns = 64, groups = 1, samples = 256, seed = 1, statistics = ALL, linalg = referenceLinAlg } = options
  const random = toyRandom(seed)
  const normal = (): number => toyNormal(random)
  const width = groups * columns
  const causes = Math.max(1, Math.round(columns / 4))
  const mixing = Float64Array.from({ length: causes * width }, normal)
  const x = new Float32Array(samples * width)
  for (let r = 0; r < samples; r++) {
    const hidden = Float64Array.from({ length: causes }, normal)
    for (let c = 0; c < width; c++) {
      let sum = 0.3 * normal()
      for (let i = 0; i < causes; i++) sum += (hidden[i] * mixing[i * width + c]) / Math.sqrt(causes)
      x[r * width + c] = sum * (c % 7 === 3 ? 5 : 1)
    }
  }
  const weight = Float32Array.from({ length: rows * columns }, () => normal() / Math.sqrt(columns))
  const site: ToySite = { kind: groups > 1 ? 'conv' : 'linear', rows, columns, groups, columnsPerChannel: 1, block: 0 }
  return {
    job: {
      site: { id: 'toy', kind: site.kind, weight: { rows, columns, groups, columnsPerChannel: 1 } },
      weight: tensor('float32', [rows, columns], weight),
      scheme,
      statistics: statisticsOf({ shape: [samples, width], data: x }, site, statistics),
      linalg,
      seed: 0,
    },
    x: tensor('float32', [samples, width], x),
  }
}

function statisticsOf(rows: ToyTensor, site: ToySite, names: readonly StatisticName[]): JobStatistics {
  const record = new ToyRecord()
  record.whole.push(rows)
  record.rows.push(rows)
  return Object.fromEntries(names.map((name) => [name, toyStatistic(name, record, record, site, {})]))
}
