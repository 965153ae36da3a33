import type { Layer } from '../tf.js'
import type { LayerVariable } from './layer-variable.js'
import type { WeightKind } from './weight-kinds.js'

/** A weight of a layer that can be quantized. */
export interface LayerSite {
  /** The layer's name, and the weight's where a layer has several. */
  readonly id: string
  readonly layer: Layer
  /** The layer of the model's own list that holds `layer`: itself, or the custom layer around it. Its variables are saved. */
  readonly owner: Layer
  readonly op: string
  readonly weight: WeightKind
  readonly variable: LayerVariable
  /** `[N, K]` and the split of columns. */
  readonly rows: number
  readonly columns: number
  readonly columnsPerChannel: number
  /** Convolution groups: the in-channels of a depthwise kernel. */
  readonly groups: number
  /** Input shape as the layer was built for, `null` for free dims; absent where it is not known. */
  readonly input?: readonly (number | null)[]
  /** Times the layer is called in one forward pass. */
  readonly calls: number
  readonly block: number
}

/** A layer with weights that is no site, and why. */
export interface SkippedLayer {
  readonly id: string
  readonly reason: string
}
