import type { DType } from '../../dtype.js'
import type { Scheme } from '../../scheme.js'
import type { HostTensor } from '../../tensor.js'

/** A named tensor of a model. Symbolic dims are strings. */
export interface TensorRef {
  readonly name: string
  readonly dtype?: DType
  readonly shape?: readonly (number | string)[]
}

/** A place in a model whose weight can be quantized. */
export interface Site {
  /** Stable over runs: what a user writes in an override. */
  readonly id: string
  /**
   * `stored`: a tensor that operators of other kinds read (recurrent layers, fused attention, branches and loops). Like an embedding it has no
   * inputs to calibrate with and no bias.
   */
  readonly kind: 'linear' | 'conv' | 'embedding' | 'stored'
  /** The host's own word for the operator: `MatMul`, `Conv2D`. */
  readonly op: string
  readonly weight: SiteWeight
  readonly input: TensorRef
  readonly output: TensorRef
  /** Id of the site that owns the same weight, where several share one. Decisions are made for the owner. */
  readonly tiedTo?: string
  /** Sites of one block are calibrated together in sequential mode; blocks are numbered in the order they run. */
  readonly block: number
}

/** Always seen as `[N, K]`: rows are output channels (embedding: rows are entries); the host maps its own axes. */
export interface SiteWeight {
  readonly name: string
  readonly dtype: DType
  readonly rows: number
  readonly columns: number
  /** Shape in the model's own file. */
  readonly shape: readonly number[]
  /** Convolution groups: row n multiplies the inputs of group `floor(n / (rows / groups))`. 1 for all else. */
  readonly groups: number
  /** Columns that share one input channel (kernel height × width); column index = channel · columnsPerChannel + offset. */
  readonly columnsPerChannel: number
  /** Bytes it takes in the model's own file, where that is not `rows · columns` elements of `dtype`. */
  readonly bytes?: number
  /** True if other uses than sites read this weight, so that it must stay in float as well. */
  readonly shared?: boolean
}

/** Sites that read the same input, and what produces that input: where a scale can be folded. */
export interface FoldGroup {
  readonly id: string
  readonly sites: readonly string[]
  readonly input: TensorRef
  /** What takes the inverse scale: a norm's gain, a linear's rows, a Mul's constant; `none`: an explicit Mul is inserted. */
  readonly producer: 'norm' | 'linear' | 'mul' | 'none'
  /** Channels of the input. */
  readonly channels: number
  /** Why nothing can take the scale, if `producer` is `none`. */
  readonly reason?: string
  /** Transforms that the group does not take at all, with the reasons: a weight is tied to a site that reads something else. */
  readonly refused?: Readonly<Partial<Record<'scale' | 'rotate' | 'clip', string>>>
}

/**
 * A tensor that runs through the model: every block reads it through a norm and adds to it. As an RMS norm commutes with a
 * rotation once its gain is folded into the sites behind it, the whole stream can be turned without an operator at run time.
 */
export interface ResidualStream {
  readonly id: string
  readonly channels: number
  /** Sites that read it: their columns turn. */
  readonly readers: readonly ResidualReader[]
  /** Sites that write or add to it: their rows turn, the columns of an embedding. */
  readonly writers: readonly string[]
  /** Why it cannot be turned, where it cannot. */
  readonly reason?: string
}

export interface ResidualReader {
  readonly site: string
  /** `[channels]`: gain of the norm in between. Turning the stream multiplies the site's columns by it and makes the norm's 1. */
  readonly gain?: Float32Array
}

/** An activation that static quantization may quantize. */
export interface ActivationPoint {
  /** Tensor name. */
  readonly id: string
  /** Points that must share one scale (shape-only operators, concat) carry the same `group`. */
  readonly group: string
  /** A point of the same group that holds every value of this one, so that its statistics say all there is to know of this one. */
  readonly within?: string
  /** Sites that read it. */
  readonly sites: readonly string[]
  /** Operators that read or write it, in the host's words. */
  readonly ops: readonly string[]
}

/**
 * Operators that get quantized inputs and outputs.
 * - `default`: products with weights, and what lies between two of them. The rest stays in float, where it costs little time and
 *   eight bits would cost accuracy.
 * - `all`: every operator that ONNX Runtime's own quantizer takes by default.
 * - a list: these operators, by the host's names.
 */
export type OperatorChoice = 'default' | 'all' | readonly string[]

/** A change of the float model that leaves its function alone. */
export type Transform =
  /** Input channel j is divided by `scales[j]`, the columns of the sites multiplied. */
  | { readonly kind: 'scale'; readonly scales: Float32Array }
  /** Input rows are turned by a randomised Hadamard transform in blocks of `order` channels (`rotateRows`); weight columns alike. */
  | { readonly kind: 'rotate'; readonly signs: Int8Array; readonly order: number }
  /** Weights of one site are replaced (clipping): the one transform that changes the function. */
  | { readonly kind: 'clip'; readonly site: string; readonly weight: HostTensor<'float32'> }

/** What a host did with a transform: `folded` into the producer, or an explicit operator `inserted`. */
export interface ApplyResult {
  readonly how: 'folded' | 'inserted' | 'refused'
  readonly reason?: string
}

/** Whether a host can take a scheme at a site in a format. */
export type Acceptance = { readonly ok: true } | { readonly ok: false; readonly reason: string; readonly instead?: Scheme }

/** One batch: input name → tensor. */
export type Batch = Readonly<Record<string, HostTensor>>

/** Batches, iterated anew for each pass: an array, or an object whose iterator starts over. */
export type BatchSource = Iterable<Batch> | AsyncIterable<Batch>
