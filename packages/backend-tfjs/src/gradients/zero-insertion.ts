import type { TensorInfo } from '@tensorflow/tfjs-core'
import { compose, run, type Context } from './context.js'

/**
 * Spreads `dy [b, h, w, c]` to `[b, (h-1)·sy+1, (w-1)·sx+1, c]` with zeros between: the gradient of a strided convolution is a
 * plain convolution of this. A new tensor, also for strides of 1.
 */
export function insertZeros(context: Context, dy: TensorInfo, strideY: number, strideX: number): TensorInfo {
  const [b, h, w, c] = dy.shape
  const reshape = (shape: number[]) => (x: TensorInfo) => run(context, 'Reshape', { x }, { shape })
  const pad = (after: number) => (x: TensorInfo) => run(context, 'PadV2', { x }, { paddings: [[0, 0], [0, after]], constantValue: 0 })
  if (strideY === 1 && strideX === 1) return run(context, 'Identity', { x: dy })
  const wide = w * strideX
  return compose(
    context, dy,
    reshape([b * h * w, c]), pad((strideX - 1) * c),
    reshape([b * h, wide * c]), pad((strideY - 1) * wide * c),
    reshape([b, h * strideY, wide, c]),
    (x) => run(context, 'Slice', { x }, { begin: [0, 0, 0, 0], size: [b, (h - 1) * strideY + 1, (w - 1) * strideX + 1, c] }),
  )
}
