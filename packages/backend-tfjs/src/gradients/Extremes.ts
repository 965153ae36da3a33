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
      const first = axes.length > 0 && axes.every((i, index) => i === index)
      if (x.dtype !== 'float32' || (!first && !last) || size(x.shape) === 0) return stock(context, kernelName, args)
      const keep = args.attrs?.keepDims === true
      const out = output(context, x.shape.map((s, i) => (axes.includes(i) ? 1 : s)).filter((_, i) => keep || !axes.includes(i)))
      if (!last) {
        const rows = size(x.shape.slice(0, axes.length))
        context.kernels.extremesOfRows(kind, offset(context, x), offset(context, out), rows, size(x.shape) / rows)
        return out
      }
      const columns = size(x.shape.slice(rank - axes.length))
      context.kernels.extremes(kind, offset(context, x), offset(context, out), size(x.shape) / columns, columns)
      return out
    },
  }
}

/** Smallest and largest along the first or the last axes: ranges of observers, absmax of channels and tokens. */
export const extremesAlongAxes: readonly Replacement[] = [extremes('Min', 4, 'axis'), extremes('Max', 5, 'reductionIndices')]
