import type { Site } from '@lowbit/core'

/** How a layer's stored kernel is the matrix `[N, K]`, columns channel-major. */
export interface WeightKind {
  /** Member of the layer that holds the kernel. */
  readonly member: string
  /** Appended to the layer's name where a layer has more than one. */
  readonly suffix: string
  readonly kind: Site['kind']
  readonly form: 'dense' | 'conv' | 'depthwise' | 'pointwise' | 'transposed' | 'embedding'
  /** Axes of the kernel in the order out…, in…, offsets…: transposed so and reshaped, it is `[N, K]`. */
  readonly permutation: readonly number[]
  /** How many of those axes make up N. */
  readonly rowAxes: number
  /** True if `[K, N]` is a reshape of the kernel as stored (offsets before channels). */
  readonly reshapes: boolean
}

const DENSE: WeightKind = { member: 'kernel', suffix: '', kind: 'linear', form: 'dense', permutation: [1, 0], rowAxes: 1, reshapes: true }
const CONV2D: WeightKind = { member: 'kernel', suffix: '', kind: 'conv', form: 'conv', permutation: [3, 2, 0, 1], rowAxes: 1, reshapes: true }
const CONV1D: WeightKind = { ...CONV2D, permutation: [2, 1, 0] }
const DEPTHWISE: WeightKind = { member: 'depthwiseKernel', suffix: '', kind: 'conv', form: 'depthwise', permutation: [2, 3, 0, 1], rowAxes: 2, reshapes: true }
const TRANSPOSED: WeightKind = { member: 'kernel', suffix: '', kind: 'conv', form: 'transposed', permutation: [2, 3, 0, 1], rowAxes: 1, reshapes: false }
const EMBEDDING: WeightKind = { member: 'embeddings', suffix: '', kind: 'embedding', form: 'embedding', permutation: [0, 1], rowAxes: 1, reshapes: false }

/** Weights that can be quantized, by the layer's class. */
export const WEIGHT_KINDS: Readonly<Record<string, readonly WeightKind[]>> = {
  Dense: [DENSE],
  Conv1D: [CONV1D],
  Conv2D: [CONV2D],
  DepthwiseConv2D: [DEPTHWISE],
  SeparableConv2D: [
    { ...DEPTHWISE, suffix: '/depthwise' },
    { ...CONV2D, member: 'pointwiseKernel', suffix: '/pointwise', form: 'pointwise' },
  ],
  Conv2DTranspose: [TRANSPOSED],
  Embedding: [EMBEDDING],
}
