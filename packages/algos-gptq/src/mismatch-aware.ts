import { resolveOptions, type DeclarationsOf, type RoundingAlgorithm } from '@lowbit/core'
import { towardsFloat } from './mismatch.js'
import { VERSION } from './version.js'

export interface MismatchOptions {
  /** How much of what the rounded layers before have changed is taken back: 0 nothing, 1 all that the calibration data says. Default 0.5. */
  readonly share?: number
  /** Added to the Gram diagonal, as a share of its mean. Default 0.01. */
  readonly percdamp?: number
}

/** What {@link mismatchAware} takes beside the rounding. */
export const MISMATCH_OPTIONS = {
  share: { type: 'number', minimum: 0, maximum: 1, default: 0.5, about: 'how much of what the rounded layers before have changed is taken back' },
  percdamp: { type: 'number', minimum: 0, default: 0.01, about: 'added to the Gram diagonal, as a share of its mean' },
} as const satisfies DeclarationsOf<MismatchOptions>

/**
 * A rounding algorithm that aims at the float model's output: in sequential mode a layer reads what rounded layers put out, and its
 * weight is moved so that it makes up for that before it is rounded (GPTAQ, Li et al. 2025; Qronos, Zhang et al. 2025). What the
 * rounding measures, it measures against the moved weight. In one pass nothing changes.
 *
 * Put it outermost: algorithms inside are not told about the float model's inputs.
 */
export function mismatchAware(rounding: RoundingAlgorithm, options: MismatchOptions = {}): RoundingAlgorithm {
  const settings = resolveOptions<MismatchOptions, typeof MISMATCH_OPTIONS>(MISMATCH_OPTIONS, options, 'mismatchAware')
  return {
    kind: 'rounding',
    name: '@lowbit/algos-gptq/mismatch-aware',
    version: VERSION,
    apiVersion: 2,
    config: { rounding: { use: rounding.name, version: rounding.version, config: rounding.config }, ...settings },
    needs: (scheme) => rounding.needs(scheme),
    sequential: () => ['gram', 'cross-gram'],
    async round(job) {
      const { job: matched, moved } = await towardsFloat(job, settings)
      const result = await rounding.round(matched)
      return moved === 0 ? result : { ...result, notes: { ...result.notes, moved } }
    },
  }
}
