import { wrapCall } from '../layers/call.js'
import { fromMatrix } from '../layers/matrix.js'
import { separableConv2D } from '../layers/separable.js'
import type { Layer, LayersModel, Tensor, TfCore } from '../tf.js'
import type { FloatModel, Rounding } from './float-model.js'
import type { SiteState } from './site-state.js'

/** What the model computes with in place of its own values. */
export interface Overlay extends Pick<FloatModel, 'sites' | 'norms' | 'inserted'> {
  /** Values of the weights that are rounded, by site. */
  readonly weights: ReadonlyMap<string, Float32Array>
  /** By point. */
  readonly activations: ReadonlyMap<string, Rounding>
}

/** Sees the tensor that a site reads, before it is quantized. */
export type Tap = (site: SiteState, x: Tensor) => void

/**
 * Runs the model once with an overlay; null: as it is. The model itself is not changed: the layers' calls are wrapped for the time of the run.
 */
export function forward(tf: TfCore, model: LayersModel, inputs: Tensor[], overlay: Overlay | null, sites: readonly SiteState[], tap?: Tap): Tensor[] {
  const undo: (() => void)[] = []
  const layers = new Set(sites.map((s) => s.at.layer))
  try {
    for (const layer of layers) undo.push(wrapLayer(tf, layer, sites.filter((s) => s.at.layer === layer), overlay, tap))
    if (overlay !== null) {
      for (const { norm } of sites) if (norm !== undefined) undo.push(wrapCall(norm.layer, (x) => tf.clone(x)))
      for (const [layer, { gamma, beta }] of overlay.norms) {
        undo.push(wrapCall(layer, (x, _, next) => next(x, { gamma: tf.tensor(gamma), ...(beta === undefined ? {} : { beta: tf.tensor(beta) }) })))
      }
    }
    const out = model.predictOnBatch(inputs.length === 1 ? inputs[0] : inputs)
    return Array.isArray(out) ? out : [out]
  } finally {
    for (const restore of undo.reverse()) restore()
  }
}

function wrapLayer(tf: TfCore, layer: Layer, sites: readonly SiteState[], overlay: Overlay | null, tap: Tap | undefined): () => void {
  return wrapCall(layer, (input, _, next) => {
    const first = sites[0]
    const x = read(tf, first, input, overlay, tap)
    const replaced: Record<string, Tensor> = {}
    if (overlay !== null) {
      for (const site of sites) {
        replaced[site.at.weight.member] = fromMatrix(tf, site.at, tf.tensor(overlay.weights.get(site.at.id) ?? site.weight, [site.at.rows, site.at.columns]))
        if (site.bias !== undefined && site.at.weight.suffix !== '/depthwise') replaced['bias'] = tf.tensor(site.bias)
      }
    }
    if (sites.length === 1) return next(x, replaced)
    return separableConv2D(tf, layer, x, replaced, (middle) => read(tf, sites[1], biased(tf, sites[0], middle, overlay), overlay, tap))
  })
}

/** A depthwise step has no bias of its own in tfjs; one that was added lies between the steps. */
function biased(tf: TfCore, depthwise: SiteState, middle: Tensor, overlay: Overlay | null): Tensor {
  return overlay === null || depthwise.bias === undefined ? middle : tf.add(middle, tf.tensor(depthwise.bias))
}

function read(tf: TfCore, site: SiteState, x: Tensor, overlay: Overlay | null, tap: Tap | undefined): Tensor {
  if (site.at.weight.form === 'embedding') return x
  const factors = overlay?.inserted.get(site.input)
  const scaled = factors === undefined ? x : tf.div(x, tf.tensor(factors))
  tap?.(site, scaled)
  const rule = overlay?.activations.get(site.input)
  return rule === undefined ? scaled : quantizeDequantize(tf, scaled, rule)
}

function quantizeDequantize(tf: TfCore, x: Tensor, { scale, zeroPoint, min, max }: Rounding): Tensor {
  const codes = tf.minimum(tf.maximum(tf.add(tf.round(tf.div(x, scale)), zeroPoint), min), max)
  return tf.mul(tf.sub(codes, zeroPoint), scale)
}
