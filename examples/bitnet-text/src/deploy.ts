import { bitLinearInteger, hfTernary, rmsNorm, ternariseOn } from '@lowbit/algos-bitnet'
import { tfjsDifferentiator } from '@lowbit/backend-tfjs'
import { dequantize, productBound, type QTensor } from '@lowbit/core'
import type { Decoder, Tf } from './model.js'

/** The packed model: what its linear layers take on disk, and how the weights are spread. */
export interface Deployed {
  readonly weights: ReadonlyMap<string, QTensor>
  readonly bytes: number
  readonly floatBytes: number
  /** Shares of -1, 0 and 1. */
  readonly shares: readonly [number, number, number]
}

/** Ternarises every BitLinear weight on the backend that trained, and packs it in two bits. Latent weights stay behind. */
export async function deploy(tf: Tf, model: Decoder): Promise<Deployed> {
  const backend = tfjsDifferentiator(tf)
  const weights = new Map<string, QTensor>()
  const counts = [0, 0, 0]
  let bytes = 0
  let floatBytes = 0
  for (const [name, latent] of model.linears) {
    const q = await ternariseOn(backend, latent, 'KN', name)
    weights.set(name, q)
    for (const code of q.codes) counts[code + 1]++
    bytes += hfTernary.size(q.scheme, q.shape)
    floatBytes += 4 * q.codes.length
    hfTernary.pack(q)
  }
  const total = counts.reduce((a, b) => a + b, 0)
  return { weights, bytes, floatBytes, shares: [counts[0] / total, counts[1] / total, counts[2] / total] }
}

/**
 * Runs one layer in integers on a sample and compares it with what the trained model computes there.
 * @returns the largest difference as a share of what float32 rounding of the product allows: at most 1
 */
export async function compareLayer(tf: Tf, weight: QTensor, latent: { readonly shape: readonly number[] }, sample: Float32Array, rows: number): Promise<number> {
  const [k, n] = latent.shape
  const { ops, read } = tfjsDifferentiator(tf)
  const x = tf.tensor(sample, [rows, k])
  const deployed = bitLinearInteger({ dtype: 'float32', shape: [rows, k], data: Float32Array.from(sample) }, weight)
  const normed = rmsNorm(ops, x)
  const scale = ops.div(ops.constant(127), ops.max(ops.abs(normed), [-1], true))
  const rounded = ops.div(ops.rint(ops.mul(normed, scale)), scale)
  const w = dequantize(weight).data
  const prepared = await read(ops.matmul(rounded, tf.tensor(w, [n, k]), false, true))
  const bound = productBound(await read(rounded), w, rows, n, k)
  return deployed.values.reduce((worst, v, i) => Math.max(worst, Math.abs(v - prepared[i]) / Math.max(bound[i], 1e-30)), 0)
}
