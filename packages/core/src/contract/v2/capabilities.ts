import type { Plan } from '../../plan/plan.js'
import type { QTensor } from '../../qtensor.js'
import type { ActivationParams } from './activation-params.js'
import type { ApplyResult, Batch, OperatorChoice, ResidualStream, Transform } from './model.js'
import type { Json } from './plugin.js'

/**
 * What a host can do beside what every host must. An ability is an object that is there or not, never a method that may be
 * missing: `supports.capabilities` names those that are there, and the testkit holds the two against each other.
 */
export interface HostCapabilities {
  readonly residual?: ResidualCapability
  readonly operators?: OperatorsCapability
  readonly fingerprint?: FingerprintCapability
  readonly outputsUnder?: OutputsUnderCapability
  readonly plans?: PlansCapability
}

export type CapabilityName = keyof HostCapabilities

/** Finds tensors that run through the whole model, and turns them. */
export interface ResidualCapability {
  streams(): Promise<readonly ResidualStream[]>
  /** @throws LOWBIT_NOT_FOUND for a stream that is not there */
  rotate(stream: string, rotation: Extract<Transform, { readonly kind: 'rotate' }>): Promise<ApplyResult>
}

/** Lets a user say which operators take part in static quantization. */
export interface OperatorsCapability {
  /**
   * From now on `activations()` shows what these operators read and write.
   * @throws LOWBIT_ARGUMENT for an operator that cannot take part
   */
  choose(choice: OperatorChoice): Promise<void>
}

/** Tells models apart, so that statistics can be kept between runs. */
export interface FingerprintCapability {
  /** SHA-256 of the model as opened. */
  sha256(): Promise<string>
}

/** Says how decisions will be stored, and computes that. */
export interface PlansCapability {
  /**
   * Says what the model will be written as: from now on `plan`, `run`, `observe` and `outputsUnder` are those of that artifact.
   * `null`: decisions stand for their values again, whatever a format would make of them.
   * @throws LOWBIT_UNSUPPORTED for a format that the host does not write, LOWBIT_ARGUMENT for a setting that does not exist
   */
  target(format: string | null, settings?: Readonly<Record<string, Json>>): void
  /** How what was decided so far will be stored. */
  plan(): Plan
}

/** Decisions laid over those that stand, for one question. What is not named stays as decided. */
export interface DecisionSet {
  /** By the site that owns the weight. `null`: its float values; activations that were decided stay rounded. */
  readonly weights?: ReadonlyMap<string, QTensor | null>
  readonly activations?: ReadonlyMap<string, ActivationParams | null>
}

/**
 * Answers "what would the outputs be under each of these decisions", faster than deciding, running and deciding back again: that
 * is what the pipeline does with a host that lacks this.
 */
export interface OutputsUnderCapability {
  /**
   * Runs batches, in their order, under each set. Sets may be answered in any order, or side by side. No decision changes.
   * @param see - told the outputs; false: no further batches under this set
   * @throws LOWBIT_ABORTED
   */
  run(sets: readonly DecisionSet[], batches: readonly Batch[], see: SeeOutputs, options?: { readonly signal?: AbortSignal }): Promise<void>
}

/** @param set - index of the decision set */
export type SeeOutputs = (set: number, batch: number, outputs: Batch) => boolean
