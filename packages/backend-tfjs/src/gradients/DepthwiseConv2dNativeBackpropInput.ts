import { LowbitError } from '@lowbit/core'
import { compose, convAttributes, free, run, type Replacement } from './context.js'
import { insertZeros } from './zero-insertion.js'

/** Gradient of a depthwise convolution's input: missing in the wasm backend. A depthwise convolution of dy with the turned filter. */
export const depthwiseConv2dNativeBackpropInput: Replacement = {
  kernelName: 'DepthwiseConv2dNativeBackpropInput',
  make: (context) => ({ inputs: { dy, filter }, attrs }) => {
    const a = convAttributes(attrs, 'inputShape', 'DepthwiseConv2dNativeBackpropInput')
    const [kh, kw, c, multiplier] = filter.shape
    const info = context.tf.backend_util.computeConv2DInfo(a.shape, [kh, kw, c, multiplier], a.strides, a.dilations, a.pad, a.dimRoundingMode, true)
    const reachY = (kh - 1) * info.dilationHeight
    const reachX = (kw - 1) * info.dilationWidth
    const top = reachY - info.padInfo.top
    const left = reachX - info.padInfo.left
    const bottom = info.inHeight - (info.outHeight - 1) * info.strideHeight - 1 + info.padInfo.top
    const right = info.inWidth - (info.outWidth - 1) * info.strideWidth - 1 + info.padInfo.left
    if (Math.min(top, left, bottom, right) < 0) {
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'depthwise convolution', found: `padding ${JSON.stringify(a.pad)} beyond its kernel`, expected: 'padding below the kernel size' })
    }
    const spread = insertZeros(context, dy, info.strideHeight, info.strideWidth)
    const [, h, w] = spread.shape
    const padded = run(context, 'PadV2', { x: spread }, { paddings: [[0, 0], [top, bottom], [left, right], [0, 0]], constantValue: 0 })
    const dx = compose(
      context, filter,
      (x) => run(context, 'Reverse', { x }, { dims: [0, 1] }),
      (x) => run(context, 'Reshape', { x }, { shape: [kh, kw, c * multiplier, 1] }),
      (turned) => run(context, 'DepthwiseConv2dNative', { x: padded, filter: turned }, { strides: [1, 1], dilations: [info.dilationHeight, info.dilationWidth], pad: 'valid' }),
      (x) => run(context, 'Reshape', { x }, { shape: [a.shape[0], h + top + bottom - reachY, w + left + right - reachX, c, multiplier] }),
      (x) => run(context, 'Sum', { x }, { axis: [4], keepDims: false }),
    )
    free(context, spread)
    free(context, padded)
    return dx
  },
}
