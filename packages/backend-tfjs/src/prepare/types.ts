import type { FakeQuant, HostTensor, Json, QTensor, Site } from '@lowbit/core'
import type { LayersModel, Tensor } from '../tf.js'

/** What is known of a site when its quantization is chosen. */
export interface PrepareSite {
  readonly site: Site
  /** Shape of the layer's input, `null` for the batch and other free dims: the `shape` of an activation's `FakeQuantSpec`. */
  readonly inputShape: readonly (number | null)[]
  /** BatchNorm that is folded into this weight, if any: its layer's name. */
  readonly batchNorm?: string
}

/** Fake quantization of one site: of its weight `[N, K]`, and of the activation that it reads. */
export interface SiteQuantization {
  readonly weight?: FakeQuant
  readonly input?: FakeQuant
}

export type Role = 'weight' | 'input'

/** How a BatchNorm that follows a Dense, Conv or depthwise layer is folded during training. */
export interface BatchNormFolding {
  /** `running`: the moving statistics are constants. `batch` (Jacob et al. 2018): those of the batch, with gradients through them, until `freezeAfter`. */
  readonly mode: 'running' | 'batch'
  /** `batch` turns into `running`, and the moving statistics stand still, from this step on. Default: never. */
  readonly freezeAfter?: number
}

export interface PrepareOptions {
  /** Asked once a site, in the order they run; a string is the reason why the site stays in float. */
  quantize(site: PrepareSite): SiteQuantization | string
  /** `null`: BatchNorm layers stay as they are. Default `{ mode: 'batch' }`. */
  readonly batchNorm?: BatchNormFolding | null
  /** Saved with the model; a checkpoint of another recipe is refused. */
  readonly recipe?: Json
}

/** A site that stays in float, and why. */
export interface LeftInFloat {
  readonly id: string
  readonly reason: string
}

/**
 * The user's own model with fake quantization in place. `compile`, `fit`, `trainOnBatch`, `variableGrads`, callbacks and saving
 * work as before: scales are variables of the layers, so optimizers train them and `save` writes them.
 */
export interface PreparedModel {
  /** The same object that went in. */
  readonly model: LayersModel
  readonly sites: readonly PrepareSite[]
  /** Every layer with weights that stays in float, and why. */
  readonly left: readonly LeftInFloat[]
  readonly recipe: Json
  /** Training forward passes so far. Settable: a resumed training goes on from the checkpoint's. */
  step: number
  quantization(site: string): SiteQuantization
  /** Value of a fake-quantization variable, downloaded. */
  readVariable(site: string, role: Role, name: string): Float32Array
  writeVariable(site: string, role: Role, name: string, value: Float32Array): void
  /** Latent weight `[N, K]`, with its BatchNorm folded in by the moving statistics. */
  latentWeight(site: string): HostTensor<'float32'>
  /** Replaces the latent weight of a site without a folded BatchNorm, `[N, K]` (iterative freezing). */
  writeLatentWeight(site: string, weight: Float32Array): void
  /** Weight `[N, K]` that the forward pass computes with. */
  fakeWeight(site: string): HostTensor<'float32'>
  /** Bias `[N]` with BatchNorm folded in; null where the layer has none. */
  bias(site: string): Float32Array | null
  /** Codes and scales that stand for exactly what the forward pass computes with. @throws LOWBIT_CALIBRATION before any observation. */
  weightQTensor(site: string): QTensor
  /** Sum of all penalties, for own training loops (`fit` adds it by itself). Null if no algorithm has one. */
  penalty(): Tensor | null
  /** Runs after every training step of the loop that the prepared model sees, at the beginning of the next forward pass. */
  onStep(callback: (step: number) => void): void
  /** Takes the fake quantization out: the model is float again, with the latent weights as they stand. */
  restore(): void
}
