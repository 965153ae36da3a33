import { convertWeight, isLowbitError, LowbitError, type ActivationRule, type FloatPart, type Json, type QTensor } from '@lowbit/core'
import { openLayersModel, type LayersHost } from '../host/layers-host.js'
import { inputName } from '../host/activation-points.js'
import { storedColumn } from '../layers/matrix.js'
import { tfjsDifferentiator } from '../ops/differentiator.js'
import type { TfCore } from '../tf.js'
import type { Prepared } from './prepare.js'
import { latentMatrix, type PreparedSite } from './prepared-site.js'

/** A layer as it is deployed. */
export interface ConvertedSite {
  readonly id: string
  /** Codes and scales, `[N, K]` with channel-major columns: exactly what the forward pass computed with. */
  readonly weight?: QTensor
  /** How its input is quantized. */
  readonly activation?: ActivationRule
}

export interface Converted {
  readonly sites: readonly ConvertedSite[]
  /** What stays in float, and why. */
  readonly float: readonly FloatPart[]
  readonly recipe: Json
  /** The quantized model: `host.run` computes it, `host.emit` writes it as ONNX or tfjs layers. */
  readonly host: LayersHost
}


/**
 * The quantized model that a prepared one stands for. Codes come from the operations that trained it, on the same backend, so that
 * what was trained is what is deployed. The prepared model stays as it is and can train on.
 * @throws LOWBIT_CALIBRATION if a static activation saw no training step, LOWBIT_NONFINITE if the training diverged.
 */
export async function convert(tf: TfCore, prepared: Prepared): Promise<Converted> {
  prepared.settle()
  const backend = tfjsDifferentiator(tf)
  const converted: ConvertedSite[] = []
  for (const at of prepared.sites) {
    converted.push({
      id: at.site.id,
      ...(at.weight === undefined ? {} : { weight: channelMajor(await weightOf(tf, backend, at, prepared.step), at) }),
      ...(at.activation === undefined ? {} : activationOf(at)),
    })
  }
  const kept = prepared.recipe
  const host = await openLayersModel(tf, prepared.model, { foldBatchNorm: foldsBatchNorm(kept), during: (run) => prepared.inFloat(run) })
  for (const { id, weight } of converted) if (weight !== undefined) host.assign(id, weight)
  for (const [i, { activation }] of converted.entries()) if (activation?.kind === 'static') host.assignRule(inputName(prepared.sites[i].site), activation)
  return { sites: converted, float: prepared.float, recipe: kept, host }
}

function foldsBatchNorm(recipe: Json): boolean {
  return !(typeof recipe === 'object' && recipe !== null && 'batchNorm' in recipe && recipe['batchNorm'] === 'keep')
}

async function weightOf(tf: TfCore, backend: ReturnType<typeof tfjsDifferentiator>, at: PreparedSite, step: number): Promise<QTensor> {
  const { weight } = at
  if (weight === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: at.site.id, found: 'no weight to convert' })
  // `tidy` can not hold what is read between awaits; a scope of the engine can.
  const engine = tf.engine()
  engine.startScope('convert')
  try {
    return await convertWeight(backend, weight.fakeQuant, latentMatrix(tf, backend.ops, at), weight.held.state(step, false), at.planned.layer.orientation, at.site.id)
  } finally {
    engine.endScope()
  }
}

function activationOf({ site, activation }: PreparedSite): Pick<ConvertedSite, 'activation'> {
  const rule = activation?.fakeQuant.activation
  if (activation === undefined || rule === undefined) return {}
  try {
    return { activation: rule.call(activation.fakeQuant, (name) => activation.held.read(name)) }
  } catch (error) {
    // The estimator knows of no layers.
    if (isLowbitError(error, 'LOWBIT_CALIBRATION')) throw new LowbitError('LOWBIT_CALIBRATION', { ...error.parts, thing: `input of layer '${site.id}'`, cause: error })
    throw error
  }
}

/** Columns as everything outside of tfjs has them: channels before kernel offsets. Scales have no columns unless they are grouped, and grouped weights already lie so. */
function channelMajor(q: QTensor, { site, planned }: PreparedSite): QTensor {
  if (planned.layer.orientation === 'NK' || site.columnsPerChannel === 1 || site.weight.form === 'depthwise') return q
  const codes = q.codes.slice()
  for (let n = 0; n < site.rows; n++) {
    for (let k = 0; k < site.columns; k++) codes[n * site.columns + k] = q.codes[n * site.columns + storedColumn(site, k)]
  }
  return { ...q, codes }
}
