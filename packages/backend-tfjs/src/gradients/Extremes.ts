import { offset, output, size, stock, type Replacement } from './context.js'

function extremes(kernelName: string, kind: number, axisName: string): Replacement {
  return {
    kernelName,
    make: (context) => (args) => {
      const { x } = args.inputs
      const rank = x.shape.length
      const axis: unknown = args.attrs?.[axisName]
      const axes = (Array.isArray(axis) ? axis.map(Number) : axis === undefined || axis === null ? x.shape.map((_, i) => i) : [Number(axis)]).map((i) => (i < 0 ? i + rank : i)).sort((p, q) => p - q)
      const last = axes.length > 0 && axes.every((i, index) => i === rank - axes.length + index)
      if (x.dtype !== 'float32' || !last || size(x.shape) === 0) return stock(context, kernelName, args)
      const columns = size(x.shape.slice(rank - axes.length))
      const out = output(context, [...x.shape.slice(0, rank - axes.length), ...(args.attrs?.keepDims === true ? axes.map(() => 1) : [])])
      context.kernels.extremes(kind, offset(context, x), offset(context, out), size(x.shape) / columns, columns)
      return out
    },
  }
}

/** Smallest and largest along the last axes: ranges of observers, absmax of channels and tokens. */
export const extremesAlongAxes: readonly Replacement[] = [extremes('Min', 4, 'axis'), extremes('Max', 5, 'reductionIndices')]
