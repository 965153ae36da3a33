import { LowbitError, type Json } from '@lowbit/core'

/** What a checkpoint holds beside tfjs's own: under the key `lowbit` of its user-defined metadata. */
export interface CheckpointSection {
  readonly version: 1
  readonly recipe: Json
  readonly step: number
  readonly optimizer?: {
    readonly className: string
    /** Trained variables in the order the optimizer keeps its moments. */
    readonly variables: readonly string[]
    /** Scalars that tfjs recomputes on loading, in another rounding. */
    readonly exact: Readonly<Record<string, number>>
  }
  /** Whatever the training loop wants back: epoch, position in the data, random state. */
  readonly extra: Json
}

/** @throws LOWBIT_CHECKPOINT for a file without the section, or of another version. */
export function readSection(metadata: unknown): CheckpointSection {
  const found: unknown = typeof metadata === 'object' && metadata !== null && 'lowbit' in metadata ? metadata.lowbit : undefined
  if (typeof found !== 'object' || found === null) {
    throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: 'no lowbit section', expected: 'a file that saveCheckpoint wrote', fix: 'load a plain model with tf.loadLayersModel and prepare it' })
  }
  const version: unknown = 'version' in found ? found.version : undefined
  if (version !== 1) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: `version ${String(version)}`, expected: '1', fix: 'resume with the version of @lowbit/backend-tfjs that wrote it' })
  if (!isSection(found)) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: 'an incomplete lowbit section', expected: 'recipe and step' })
  return found
}

function isSection(found: object): found is CheckpointSection {
  const { step, optimizer } = found as Partial<CheckpointSection>
  const whole = typeof step === 'number' && Number.isInteger(step) && step >= 0 && 'recipe' in found && 'extra' in found
  return whole && (optimizer === undefined || (typeof optimizer === 'object' && typeof optimizer.className === 'string' && Array.isArray(optimizer.variables) && typeof optimizer.exact === 'object'))
}
