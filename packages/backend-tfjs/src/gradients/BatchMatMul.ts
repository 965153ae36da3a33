import type { TensorInfo } from '@tensorflow/tfjs-core'
import { offset, output, size, stock, withScratch, type Context, type Replacement } from './context.js'

/**
 * Matrix product with transposed and stacked operands. The backend's own is fast for two plain matrices alone; a transposed
 * operand (every gradient) or a stack (attention) takes a scalar loop there, about 20 times slower.
 */
export const batchMatMul: Replacement = {
  kernelName: 'BatchMatMul',
  make: (context) => (args) => {
    const { a, b } = args.inputs
    const transposeA = args.attrs?.transposeA === true
    const transposeB = args.attrs?.transposeB === true
    const stacks = size(a.shape.slice(0, -2)) * size(b.shape.slice(0, -2))
    if ((!transposeA && !transposeB && stacks === 1) || a.dtype !== 'float32' || b.dtype !== 'float32') return stock(context, 'BatchMatMul', args)
    return matMul(context, a, b, transposeA, transposeB) ?? stock(context, 'BatchMatMul', args)
  },
}

/** Undefined where stacks broadcast in a way that one stride can not express. */
function matMul(context: Context, a: TensorInfo, b: TensorInfo, transposeA: boolean, transposeB: boolean): TensorInfo | undefined {
  const stackA = a.shape.slice(0, -2)
  const stackB = b.shape.slice(0, -2)
  const [countA, countB] = [size(stackA), size(stackB)]
  if (countA !== 1 && countB !== 1 && stackA.join() !== stackB.join()) return undefined
  const stack = countA === 1 && (countB !== 1 || stackB.length > stackA.length) ? stackB : stackA
  const [rowsA, columnsA] = a.shape.slice(-2)
  const [rowsB, columnsB] = b.shape.slice(-2)
  const m = transposeA ? columnsA : rowsA
  const k = transposeA ? rowsA : columnsA
  const n = transposeB ? rowsB : columnsB
  const count = Math.max(countA, countB)
  const out = output(context, [...stack, m, n])
  if (count * m * n === 0) return out
  if (k === 0) {
    context.backend.wasm.HEAPU8.fill(0, offset(context, out), offset(context, out) + 4 * count * m * n)
    return out
  }
  withScratch(context, context.kernels.gemmScratch(n), (scratch) => {
    context.kernels.gemm(
      offset(context, a), transposeA ? 1 : columnsA, transposeA ? columnsA : 1,
      offset(context, b), transposeB ? 1 : columnsB, transposeB ? columnsB : 1,
      offset(context, out), m, n, k, count, countA === 1 ? 0 : m * k, countB === 1 ? 0 : n * k, scratch,
    )
  })
  return out
}
