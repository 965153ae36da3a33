import type { RoundingJob, RoundingResult, TransformJob, TransformResult } from '../v2/algorithm.js'
import type { Scheme } from '../../scheme.js'
import type { StatisticName } from '../v2/statistics.js'
import type { FakeQuant, FakeQuantSpec } from '../v2/training.js'
import type { Plugin } from './plugin.js'

export interface RoundingAlgorithm extends Plugin<'rounding'> {
  needs(scheme: Scheme): readonly StatisticName[]
  round(job: RoundingJob): Promise<RoundingResult>
}

export interface TransformAlgorithm extends Plugin<'transform'> {
  readonly scope?: 'group' | 'residual'
  needs(scheme: Scheme): readonly StatisticName[]
  plan(job: TransformJob): Promise<TransformResult>
}

export interface TrainingAlgorithm extends Plugin<'training'> {
  fakeQuant(spec: FakeQuantSpec): FakeQuant
}
