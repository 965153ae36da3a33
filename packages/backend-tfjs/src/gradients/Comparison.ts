import { offset, output, size, stock, type Replacement } from './context.js'

function comparison(kernelName: string, kind: number): Replacement {
  return {
    kernelName,
    make: (context) => (args) => {
      const { a, b } = args.inputs
      const same = a.shape.join() === b.shape.join()
      const scalarA = size(a.shape) === 1 && a.shape.length <= b.shape.length
      const scalarB = size(b.shape) === 1 && b.shape.length <= a.shape.length
      if (a.dtype !== 'float32' || b.dtype !== 'float32' || (!same && !scalarA && !scalarB) || size(a.shape) * size(b.shape) === 0) return stock(context, kernelName, args)
      const shape = scalarA && !same ? b.shape : a.shape
      const out = output(context, shape, 'bool')
      context.kernels.compare(kind, offset(context, a), offset(context, b), offset(context, out), size(shape), !same && scalarA ? 1 : 0, !same && scalarB ? 1 : 0)
      return out
    },
  }
}

/** Comparisons of float32 tensors: masks of clipping, maxima, relu. */
export const comparisons: readonly Replacement[] = ['Greater', 'GreaterEqual', 'Less', 'LessEqual', 'Equal', 'NotEqual'].map(comparison)
