import { offset, output, size, stock, type Replacement } from './context.js'

/** `where` on float32 operands of one shape. */
export const select: Replacement = {
  kernelName: 'Select',
  make: (context) => (args) => {
    const { condition, t, e } = args.inputs
    const same = condition.shape.join() === t.shape.join() && t.shape.join() === e.shape.join()
    if (!same || condition.dtype !== 'bool' || t.dtype !== 'float32' || e.dtype !== 'float32') return stock(context, 'Select', args)
    const out = output(context, t.shape)
    context.kernels.select(offset(context, condition), offset(context, t), offset(context, e), offset(context, out), size(t.shape))
    return out
  },
}
