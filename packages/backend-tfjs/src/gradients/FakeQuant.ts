import type { NamedAttrMap, TensorInfo } from '@tensorflow/tfjs-core'
import { offset, output, zeroOutput, type Context, type Replacement } from './context.js'

/** How a tensor is cut into granules, and the code range: attributes of the kernels here. */
export interface FakeQuantAttributes {
  /** `[rows, columns]`, cut into runs of `span` columns or, `columnwise`, into spans of `span` rows. */
  readonly rows: number
  readonly columns: number
  readonly span: number
  readonly columnwise: boolean
  readonly low: number
  readonly high: number
  /** Gradient of learned scales: what it is multiplied with; 0 for `1 / sqrt(elements · high)`. */
  readonly share: number
}

/** Names of the kernels, which tfjs does not have: where they are registered, estimators take one pass each way. */
export const FAKE_QUANT = { lsq: 'LowbitLsq', lsqGrad: 'LowbitLsqGrad', affine: 'LowbitAffine', affineGrad: 'LowbitAffineGrad' } as const

function layout(attrs: NamedAttrMap | undefined): [rows: number, columns: number, span: number, columnwise: number, low: number, high: number] {
  const number = (name: keyof FakeQuantAttributes): number => Number(attrs?.[name])
  return [number('rows'), number('columns'), number('span'), attrs?.['columnwise'] === true ? 1 : 0, number('low'), number('high')]
}

const at = (context: Context, info: TensorInfo | undefined): number => (info === undefined ? 0 : offset(context, info))

const LEARNED = 0
const AFFINE = 1

function forward(kernelName: string, kind: number): Replacement {
  return {
    kernelName,
    make: (context) => ({ inputs: { x, scales, zeroPoints }, attrs }) => {
      const y = output(context, x.shape)
      context.kernels.fakeQuant(kind, offset(context, x), offset(context, scales), at(context, zeroPoints), offset(context, y), ...layout(attrs))
      return y
    },
  }
}

export const fakeQuant: readonly Replacement[] = [
  forward(FAKE_QUANT.lsq, LEARNED),
  forward(FAKE_QUANT.affine, AFFINE),
  {
    kernelName: FAKE_QUANT.lsqGrad,
    make: (context) => ({ inputs: { dy, x, scales }, attrs }) => {
      const dx = output(context, x.shape)
      const ds = zeroOutput(context, scales.shape)
      context.kernels.lsqGradient(offset(context, x), offset(context, scales), offset(context, dy), offset(context, dx), offset(context, ds), ...layout(attrs), Number(attrs?.['share']))
      return [dx, ds]
    },
  },
  {
    kernelName: FAKE_QUANT.affineGrad,
    make: (context) => ({ inputs: { dy, x, scales, zeroPoints }, attrs }) => {
      const dx = output(context, x.shape)
      context.kernels.steGradient(offset(context, x), offset(context, scales), at(context, zeroPoints), offset(context, dy), offset(context, dx), ...layout(attrs))
      return dx
    },
  },
]
