import { bitnet, TERNARY_WEIGHTS } from '@lowbit/algos-bitnet'
import { binaryConnect, int2BalancedWeights, int8Static, intWeights, lowBit, lsq, ternaryWeights, xnor } from '@lowbit/algos-qat'
import { int2, int3, int4, int8, weightScheme, type RtnOptions, type Scheme, type TrainingRecipe } from '@lowbit/core'

/** Quantization after training: one rounding of the float model. */
export interface AfterTraining {
  readonly name: string
  readonly weights: Scheme
  readonly range: NonNullable<RtnOptions['range']>
  /** Activations to static int8 as well. */
  readonly activations?: boolean
}

/** Training in low precision: from the float model, or from scratch. */
export interface DuringTraining {
  readonly name: string
  /** Absent: float. */
  readonly recipe?: TrainingRecipe
  /** Fresh weights, and a BatchNorm after every layer. */
  readonly scratch?: boolean
  /** Convert it, write ONNX, run that in ONNX Runtime. */
  readonly deploy?: boolean
  /** Left out unless all rows are asked for. */
  readonly extra?: boolean
}

export interface Row {
  readonly title: string
  readonly after: readonly AfterTraining[]
  readonly during: readonly DuringTraining[]
}

/** The table: one row a width of the weights. */
export const rows: readonly Row[] = [
  { title: 'int8 static', after: [{ name: 'minmax', weights: int8(), range: 'minmax', activations: true }], during: [{ name: 'STE', recipe: int8Static(), deploy: true }] },
  {
    title: 'int4 per channel',
    after: [{ name: 'minmax', weights: int4(), range: 'minmax' }, { name: 'searched scale', weights: int4(), range: 'search' }],
    during: [{ name: 'LSQ W4A4', recipe: lowBit(4), deploy: true }],
  },
  {
    title: 'int3 per channel',
    after: [{ name: 'minmax', weights: int3(), range: 'minmax' }, { name: 'searched scale', weights: int3(), range: 'search' }],
    during: [{ name: 'LSQ', recipe: intWeights(3), deploy: true }],
  },
  {
    title: 'int2 per channel',
    after: [{ name: 'full range', weights: int2(), range: 'minmax' }, { name: 'searched scale', weights: int2(), range: 'search' }],
    during: [{ name: 'LSQ', recipe: intWeights(2), deploy: true }, { name: 'balanced levels', recipe: int2BalancedWeights(), deploy: true }, { name: 'LSQ W2A2', recipe: lowBit(2), extra: true }],
  },
  {
    title: 'ternary',
    after: [{ name: 'absmean', weights: weightScheme('ternary'), range: 'minmax' }],
    during: [
      { name: 'LSQ', recipe: { weights: { scheme: weightScheme('ternary'), algorithm: lsq() } } },
      { name: 'TWN', recipe: ternaryWeights(), deploy: true, extra: true },
      { name: 'BitNet rule per tensor', recipe: { weights: { scheme: TERNARY_WEIGHTS, algorithm: bitnet() } }, extra: true },
    ],
  },
  {
    title: 'binary',
    after: [{ name: 'mean', weights: weightScheme('binary'), range: 'minmax' }],
    during: [{ name: 'XNOR weights', recipe: { weights: { scheme: weightScheme('binary'), algorithm: xnor() } }, deploy: true }],
  },
  {
    title: 'from scratch with BatchNorm',
    after: [],
    during: [
      { name: 'BinaryConnect', scratch: true, extra: true, recipe: { weights: { scheme: weightScheme('binary', { perTensor: true }), algorithm: binaryConnect() }, batchNorm: 'keep' } },
      { name: 'float', scratch: true, extra: true },
    ],
  },
]
