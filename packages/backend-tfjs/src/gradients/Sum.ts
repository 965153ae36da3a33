import { offset, output, size, stock, zeroOutput, type Replacement } from './context.js'

/** Sums over the first or the last axes (bias gradients, losses, means): the backend transposes first and adds one by one. */
export const sum: Replacement = {
  kernelName: 'Sum',
  make: (context) => (args) => {
    const { x } = args.inputs
    const rank = x.shape.length
    const axis: unknown = args.attrs?.axis
    const axes = (Array.isArray(axis) ? axis.map(Number) : axis === undefined || axis === null ? x.shape.map((_, i) => i) : [Number(axis)]).map((i) => (i < 0 ? i + rank : i)).sort((p, q) => p - q)
    const count = axes.length
    const first = count > 0 && axes.every((i, index) => i === index)
    const last = count > 0 && axes.every((i, index) => i === rank - count + index)
    if (x.dtype !== 'float32' || (!first && !last) || size(x.shape) === 0) return stock(context, 'Sum', args)
    const keep = args.attrs?.keepDims === true
    const shape = x.shape.map((s, i) => (axes.includes(i) ? 1 : s)).filter((_, i) => keep || !axes.includes(i))
    if (last) {
      const out = output(context, shape)
      const columns = size(x.shape.slice(rank - count))
      context.kernels.sumColumns(offset(context, x), offset(context, out), size(x.shape) / columns, columns)
      return out
    }
    const out = zeroOutput(context, shape)
    const rows = size(x.shape.slice(0, count))
    context.kernels.sumRows(offset(context, x), offset(context, out), rows, size(x.shape) / rows)
    return out
  },
}
