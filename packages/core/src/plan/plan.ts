import type { ActivationParams } from '../contract/v2/activation-params.js'
import type { Json } from '../contract/v2/plugin.js'
import type { PlanTensor, WeightPart } from './parts.js'

/** Version of {@link Plan}: what reads one refuses others by name. */
export const PLAN_VERSION = 1

/**
 * How an artifact stores a model: every quantized weight, every rounded activation and bias, and what stays in float and why. A
 * format makes it from the decisions; its emitter writes it, a host's `run` computes it and the report describes it, so that nothing
 * is decided twice.
 */
export interface Plan {
  readonly plan: typeof PLAN_VERSION
  readonly format: string
  /** Settings of the format, defaults filled in. */
  readonly settings: Readonly<Record<string, Json>>
  /** Every site of the model, in the order they run. */
  readonly sites: readonly PlannedSite[]
  readonly weights: readonly PlannedWeight[]
  readonly biases: readonly PlannedBias[]
  /** Every activation that was decided. */
  readonly activations: readonly PlannedActivation[]
  /** What could not be done as asked, in sentences. */
  readonly notes: readonly string[]
}

/** What becomes of a site. */
export interface PlannedSite {
  readonly site: string
  readonly status: 'quantized' | 'float'
  /** The operator it becomes, in the host's words. */
  readonly operator: string
  /** Name in `weights`; absent in float. */
  readonly weight?: string
  /** How its input reaches the product: as floats, rounded to parameters known now, or to parameters found at run time. */
  readonly input: 'float' | 'static' | 'dynamic'
  /** Why it stays in float, or is not the operator that the format has for it. */
  readonly reason?: string
}

/** A weight as it is stored, once for all sites that share it. Its value is the sum of its parts. */
export interface PlannedWeight {
  readonly name: string
  readonly sites: readonly string[]
  /** `[N, K]` */
  readonly shape: readonly [number, number]
  /** How the parts lie in the file, in the host's words. */
  readonly form: string
  readonly parts: readonly WeightPart[]
  /** The tensors of the file, in the order they are written. */
  readonly tensors: readonly StoredTensor[]
}

/** A tensor of the file: what it holds, its element type and shape. */
export interface StoredTensor {
  /** `codes`, `scales`, `zeroPoints`, … */
  readonly role: string
  /** Element type by ONNX's name, `int4` among them. */
  readonly type: string
  readonly shape: readonly number[]
  readonly bytes: number
}

/** A bias stored as int32 codes. */
export interface PlannedBias {
  readonly site: string
  /** int32 `[N]` */
  readonly codes: PlanTensor<Int32Array>
  /** One, or `[N]`. */
  readonly scales: PlanTensor<Float32Array>
}

/** What becomes of an activation. */
export type PlannedActivation =
  /** Rounded where it is written: everything that reads it, outputs of the model too, sees rounded values. */
  | { readonly id: string; readonly where: 'written'; readonly params: ActivationParams; /** The Relu or Clip before it is left out: the codes clip as tightly. */ readonly clips: boolean }
  /**
   * Rounded for some readers, named by the first tensor that each makes; the rest sees floats. `codes`: the smallest and the largest
   * code, where they are fewer than the type of `params` has.
   */
  | { readonly id: string; readonly where: 'read'; readonly params: ActivationParams; readonly codes?: readonly [number, number]; readonly readers: readonly string[] }
  /** Rounded to parameters that are found at run time, for all products that read it. */
  | { readonly id: string; readonly where: 'run'; readonly dtype: string; readonly readers: readonly string[] }
  | { readonly id: string; readonly where: 'nowhere'; readonly reason: string }

/** Bytes that a planned weight takes in the file. */
export function plannedBytes({ tensors }: PlannedWeight): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0)
}
