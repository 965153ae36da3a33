import { offset, output, size, stock, type Replacement } from './context.js'

/** bool to float32: masks that are multiplied with. */
export const cast: Replacement = {
  kernelName: 'Cast',
  make: (context) => (args) => {
    const { x } = args.inputs
    if (x.dtype !== 'bool' || args.attrs?.dtype !== 'float32') return stock(context, 'Cast', args)
    const out = output(context, x.shape)
    context.kernels.boolToFloat(offset(context, x), offset(context, out), size(x.shape))
    return out
  },
}
