import { convAttributes, offset, zeroOutput, type Replacement } from './context.js'

/** Gradient of max pooling. The backend's own starts its search at the smallest positive float, so a window of negative values sends its gradient to the wrong place. */
export const maxPoolGrad: Replacement = {
  kernelName: 'MaxPoolGrad',
  make: (context) => ({ inputs: { dy, input }, attrs }) => {
    const [b, h, w, c] = input.shape
    const filter = attrs?.filterSize
    const [kh, kw] = Array.isArray(filter) ? filter.map(Number) : [Number(filter), Number(filter)]
    const a = convAttributes({ ...attrs, filterShape: [kh, kw, c, 1] }, 'filterShape', 'MaxPoolGrad')
    const info = context.tf.backend_util.computePool2DInfo([b, h, w, c], [kh, kw], a.strides, 1, a.pad, a.dimRoundingMode)
    const dx = zeroOutput(context, input.shape)
    context.kernels.maxPool(
      offset(context, input), offset(context, dy), offset(context, dx), b, h, w, c, info.outHeight, info.outWidth, kh, kw,
      info.strideHeight, info.strideWidth, info.padInfo.top, info.padInfo.left,
    )
    return dx
  },
}
