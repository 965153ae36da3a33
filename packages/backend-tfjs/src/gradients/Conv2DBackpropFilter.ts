import { compose, convAttributes, offset, output, run, withScratch, type Replacement } from './context.js'

/** Below this many in-channels a row of the implicit product is cheaper to gather than two transposes and a packing of dy. */
const FEW_CHANNELS = 4

/**
 * Gradient of a convolution's filter: missing in the wasm backend.
 *
 * It is itself a convolution, with images and channels swapped: x as `[ci, h, w, b]` is filtered by dy as `[oh, ow, b, co]`,
 * dilated by the stride, which gives `[ci, kh, kw, co]`. So the backend's fast convolution does the work.
 */
export const conv2DBackpropFilter: Replacement = {
  kernelName: 'Conv2DBackpropFilter',
  make: (context) => ({ inputs: { x, dy }, attrs }) => {
    const a = convAttributes(attrs, 'filterShape', 'Conv2DBackpropFilter')
    const [b, h, w, ci] = x.shape
    const info = context.tf.backend_util.computeConv2DInfo([b, h, w, ci], a.shape, a.strides, 1, a.pad, a.dimRoundingMode)
    const { filterHeight: kh, filterWidth: kw, outHeight: oh, outWidth: ow, outChannels: co, strideHeight: sy, strideWidth: sx } = info
    const { top, left } = info.padInfo
    if (ci < FEW_CHANNELS) {
      const dw = output(context, a.shape)
      withScratch(context, context.kernels.gemmScratch(co), (scratch) => {
        context.kernels.convFilter(offset(context, x), offset(context, dy), offset(context, dw), b, h, w, ci, oh, ow, co, kh, kw, sy, sx, top, left, scratch)
      })
      return dw
    }
    // As much padding (or cropping) behind as makes exactly kh × kw positions.
    const bottom = (oh - 1) * sy + kh - h - top
    const right = (ow - 1) * sx + kw - w - left
    const cropped = run(context, 'Slice', { x }, { begin: [0, 0, 0, 0], size: [b, h + Math.min(0, bottom), w + Math.min(0, right), ci] })
    const filter = run(context, 'Transpose', { x: dy }, { perm: [1, 2, 0, 3] })
    const dw = compose(
      context, cropped,
      (t) => run(context, 'Transpose', { x: t }, { perm: [3, 1, 2, 0] }),
      (t) => run(context, 'Conv2D', { x: t, filter }, { strides: [1, 1], dilations: [sy, sx], pad: [[0, 0], [top, Math.max(0, bottom)], [left, Math.max(0, right)], [0, 0]], dataFormat: 'NHWC' }),
      (t) => run(context, 'Transpose', { x: t }, { perm: [1, 2, 0, 3] }),
    )
    context.backend.disposeData(cropped.dataId)
    context.backend.disposeData(filter.dataId)
    return dw
  },
}
