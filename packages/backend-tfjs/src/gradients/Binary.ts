import { offset, output, size, stock, type Replacement } from './context.js'

/** How the smaller operand spreads over the larger: one value a column, or one a row. */
function spread(large: readonly number[], small: readonly number[]): 'columns' | 'rows' | null {
  const trimmed = small.slice(small.findIndex((s) => s !== 1))
  const aligned = large.slice(large.length - trimmed.length)
  if (small.some((s) => s !== 1) && trimmed.length <= large.length && trimmed.every((s, i) => s === aligned[i])) return 'columns'
  if (small.length === large.length && small[small.length - 1] === 1) {
    const kept = small.findIndex((s, i) => s === 1 && large[i] !== 1)
    if (kept > 0 && small.every((s, i) => (i < kept ? s === large[i] : s === 1))) return 'rows'
  }
  return null
}

function binary(kernelName: string, kind: number): Replacement {
  return {
    kernelName,
    make: (context) => (args) => {
      const { a, b } = args.inputs
      const swap = size(b.shape) > size(a.shape)
      const [large, small] = swap ? [b, a] : [a, b]
      const how = size(small.shape) > 1 && size(small.shape) < size(large.shape) && small.shape.length <= large.shape.length ? spread(large.shape, small.shape) : null
      if (how === null || a.dtype !== 'float32' || b.dtype !== 'float32') return stock(context, kernelName, args)
      const out = output(context, large.shape)
      const rows = how === 'rows' ? size(small.shape) : size(large.shape) / size(small.shape)
      context.kernels.broadcast(kind, offset(context, large), offset(context, small), offset(context, out), rows, size(large.shape) / rows, how === 'rows' ? 1 : 0, swap ? 1 : 0)
      return out
    },
  }
}

/** Arithmetic with a value a channel (bias, scale) or a row (token scale): vectors in place of index arithmetic an element. */
export const arithmetic: readonly Replacement[] = [binary('Add', 0), binary('Sub', 1), binary('Multiply', 2), binary('RealDiv', 3)]

function extreme(kernelName: string, kind: number): Replacement {
  const spreading = binary(kernelName, kind)
  return {
    kernelName,
    make: (context) => {
      const spreads = spreading.make(context)
      return (args) => {
        const { a, b } = args.inputs
        const same = a.shape.join() === b.shape.join()
        const swap = size(b.shape) > size(a.shape)
        const [large, small] = swap ? [b, a] : [a, b]
        const scalar = size(small.shape) === 1 && small.shape.length <= large.shape.length
        if (a.dtype !== 'float32' || b.dtype !== 'float32' || (!same && !scalar)) return spreads(args)
        const out = output(context, large.shape)
        context.kernels.broadcast(kind, offset(context, large), offset(context, small), offset(context, out), 1, size(large.shape), same ? 0 : 1, swap ? 1 : 0)
        return out
      }
    },
  }
}

/** Smaller and larger of two: clipping. The backend's own are scalar loops also for two tensors of one shape. */
export const extremesOfTwo: readonly Replacement[] = [extreme('Minimum', 4), extreme('Maximum', 5)]
