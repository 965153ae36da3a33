import { compose, convAttributes, free, offset, run, stock, withScratch, zeroOutput, type Replacement } from './context.js'
import { insertZeros } from './zero-insertion.js'

/** Below this many in-channels the backend's convolution, which makes eight channels at a time, would mostly compute padding. */
const FEW_CHANNELS = 4

/** Gradient of a convolution's input: a convolution of dy, spread by the stride, with the turned filter. The backend's own is a scalar loop. */
export const conv2DBackpropInput: Replacement = {
  kernelName: 'Conv2DBackpropInput',
  make: (context) => (args) => {
    const { dy, filter } = args.inputs
    const a = convAttributes(args.attrs, 'inputShape', 'Conv2DBackpropInput')
    const [kh, kw, ci, co] = filter.shape
    const info = context.tf.backend_util.computeConv2DInfo(a.shape, [kh, kw, ci, co], a.strides, 1, a.pad, a.dimRoundingMode)
    if (ci < FEW_CHANNELS) {
      const { inHeight, inWidth, outHeight, outWidth, strideHeight, strideWidth, padInfo } = info
      const dx = zeroOutput(context, a.shape)
      withScratch(context, context.kernels.convInputScratch(kh * kw * ci), (scratch) => {
        context.kernels.convInput(
          offset(context, dy), offset(context, filter), offset(context, dx), info.batchSize, inHeight, inWidth, ci, outHeight, outWidth, co, kh, kw,
          strideHeight, strideWidth, padInfo.top, padInfo.left, scratch,
        )
      })
      return dx
    }
    const top = kh - 1 - info.padInfo.top
    const left = kw - 1 - info.padInfo.left
    const bottom = info.inHeight - (info.outHeight - 1) * info.strideHeight - 1 + info.padInfo.top
    const right = info.inWidth - (info.outWidth - 1) * info.strideWidth - 1 + info.padInfo.left
    // Explicit padding beyond the kernel would need cropping instead.
    if (Math.min(top, left, bottom, right) < 0) return stock(context, 'Conv2DBackpropInput', args)
    const spread = insertZeros(context, dy, info.strideHeight, info.strideWidth)
    const dx = compose(
      context, filter,
      (x) => run(context, 'Reverse', { x }, { dims: [0, 1] }),
      (x) => run(context, 'Transpose', { x }, { perm: [0, 1, 3, 2] }),
      (turned) => run(context, 'Conv2D', { x: spread, filter: turned }, { strides: [1, 1], dilations: [1, 1], pad: [[0, 0], [top, bottom], [left, right], [0, 0]], dataFormat: 'NHWC' }),
    )
    free(context, spread)
    return dx
  },
}
