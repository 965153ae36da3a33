import { convAttributes, offset, zeroOutput, type Replacement } from './context.js'

/** Gradient of a depthwise filter: missing in the wasm backend. */
export const depthwiseConv2dNativeBackpropFilter: Replacement = {
  kernelName: 'DepthwiseConv2dNativeBackpropFilter',
  make: (context) => ({ inputs: { x, dy }, attrs }) => {
    const a = convAttributes(attrs, 'filterShape', 'DepthwiseConv2dNativeBackpropFilter')
    const [b, h, w, c] = x.shape
    const info = context.tf.backend_util.computeConv2DInfo([b, h, w, c], a.shape, a.strides, a.dilations, a.pad, a.dimRoundingMode, true)
    const dw = zeroOutput(context, a.shape)
    context.kernels.depthwiseFilter(
      offset(context, x), offset(context, dy), offset(context, dw), b, h, w, c, a.shape[3], info.outHeight, info.outWidth, a.shape[0], a.shape[1],
      info.strideHeight, info.strideWidth, info.dilationHeight, info.dilationWidth, info.padInfo.top, info.padInfo.left,
    )
    return dw
  },
}
