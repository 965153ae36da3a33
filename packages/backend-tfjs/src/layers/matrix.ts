import type { Tensor, TfCore } from '../tf.js'
import type { LayerSite } from './layer-site.js'

/** The kernel as stored, seen as `[N, K]` with channel-major columns. Differentiable. */
export function toMatrix(tf: TfCore, site: LayerSite, kernel: Tensor): Tensor {
  return tf.reshape(isIdentity(site.weight.permutation) ? kernel : tf.transpose(kernel, [...site.weight.permutation]), [site.rows, site.columns])
}

/** The inverse of {@link toMatrix}. Differentiable. */
export function fromMatrix(tf: TfCore, site: LayerSite, matrix: Tensor): Tensor {
  const { permutation } = site.weight
  const spread = tf.reshape(matrix, permutation.map((axis) => site.variable.shape[axis]))
  if (isIdentity(permutation)) return spread
  return tf.transpose(spread, permutation.map((_, axis) => permutation.indexOf(axis)))
}

function isIdentity(permutation: readonly number[]): boolean {
  return permutation.every((axis, i) => axis === i)
}

/**
 * Where column `k` of `[N, K]` lies in the rows of the reshaped `[K, N]` kernel: stored kernels have offsets before channels,
 * the matrix channels before offsets.
 */
export function storedColumn(site: LayerSite, column: number): number {
  const offsets = site.columnsPerChannel
  const channels = site.columns / offsets
  return (column % offsets) * channels + Math.floor(column / offsets)
}
