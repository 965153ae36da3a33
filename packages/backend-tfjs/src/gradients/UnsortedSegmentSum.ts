import { offset, size, zeroOutput, type Replacement } from './context.js'

/** Sums of rows by segment: the gradient of gather and embedding. Missing in the wasm backend. */
export const unsortedSegmentSum: Replacement = {
  kernelName: 'UnsortedSegmentSum',
  make: (context) => ({ inputs: { x, segmentIds }, attrs }) => {
    const segments = Number(attrs?.numSegments)
    const idRank = segmentIds.shape.length
    const inner = x.shape.slice(idRank)
    const out = zeroOutput(context, [segments, ...inner])
    context.kernels.segmentSum(offset(context, x), offset(context, segmentIds), offset(context, out), size(segmentIds.shape), size(inner), segments)
    return out
  },
}
