import type { CodeBounds, FakeQuantKernel, Granularity } from '@lowbit/core'
import type { NamedTensorMap } from '@tensorflow/tfjs-core'
import { FAKE_QUANT } from '../gradients/FakeQuant.js'
import type { Tensor, TfCore } from '../tf.js'

/** Fake quantization in one pass each way, where `registerWasmGradients` has put the kernels for it and granules lie in rows or columns. */
export function fakeQuantKernel(tf: TfCore, granularity: Granularity, shape: readonly number[]): FakeQuantKernel<Tensor> | undefined {
  const backend = tf.getBackend()
  if (Object.values(FAKE_QUANT).some((name) => tf.getKernel(name, backend) === undefined)) return undefined
  const granules = granuleLayout(granularity, shape)
  if (granules === undefined) return undefined
  const run = (name: string, inputs: Record<string, Tensor | undefined>, range: CodeBounds, share = 0): Tensor | Tensor[] => {
    const given: NamedTensorMap = {}
    for (const [key, tensor] of Object.entries(inputs)) if (tensor !== undefined) given[key] = tensor
    return tf.engine().runKernel(name, given, { ...granules, low: range.min, high: range.max, share })
  }
  const one = (result: Tensor | Tensor[]): Tensor => (Array.isArray(result) ? result[0] : result)
  return {
    lsq: (x, scales, range) => one(run(FAKE_QUANT.lsq, { x, scales }, range)),
    lsqGradients: (dy, x, scales, range, share) => {
      const result = run(FAKE_QUANT.lsqGrad, { dy, x, scales }, range, share)
      return Array.isArray(result) ? [result[0], result[1]] : [result, result]
    },
    affine: (x, scales, zeroPoints, range) => one(run(FAKE_QUANT.affine, { x, scales, zeroPoints }, range)),
    affineGradient: (dy, x, scales, zeroPoints, range) => one(run(FAKE_QUANT.affineGrad, { dy, x, scales, zeroPoints }, range)),
  }
}

interface GranuleLayout {
  readonly rows: number
  readonly columns: number
  readonly span: number
  readonly columnwise: boolean
}

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1)

/** Undefined for granules along a middle axis, and for nothing at all. */
function granuleLayout(granularity: Granularity, shape: readonly number[]): GranuleLayout | undefined {
  const total = product(shape)
  if (total === 0) return undefined
  const runs = (rows: number, span: number): GranuleLayout => ({ rows, columns: total / rows, span, columnwise: false })
  const lines = (rows: number, span: number): GranuleLayout => ({ rows, columns: total / rows, span, columnwise: true })
  switch (granularity.kind) {
    case 'tensor':
      return runs(1, total)
    case 'token':
      return runs(total / shape[shape.length - 1], shape[shape.length - 1])
    case 'channel': {
      const before = product(shape.slice(0, granularity.axis))
      if (before * shape[granularity.axis] === total) return lines(before, before)
      return before === 1 ? runs(shape[granularity.axis], total / shape[granularity.axis]) : undefined
    }
    case 'group': {
      const before = product(shape.slice(0, granularity.axis))
      if (before * shape[granularity.axis] === total) return runs(before, granularity.size)
      return before === 1 ? lines(shape[granularity.axis], granularity.size) : undefined
    }
  }
}
