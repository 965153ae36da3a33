import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'

/**
 * Orthonormal Walsh-Hadamard transform (Sylvester order) of each `block` of the last axis, in float64: `y = H x / sqrt(block)`.
 * @throws LOWBIT_SHAPE if the block is not a power of two that divides the axis
 */
export function referenceHadamard(x: HostTensor<'float32'>, block = x.shape[x.shape.length - 1] ?? 1): HostTensor<'float32'> {
  expectHadamardBlock(x, block)
  const out = new Float32Array(x.data.length)
  for (let start = 0; start < out.length; start += block) {
    for (let i = 0; i < block; i++) {
      let sum = 0
      for (let j = 0; j < block; j++) sum += (oddBits(i & j) ? -1 : 1) * (x.data[start + j] ?? 0)
      out[start + i] = sum / Math.sqrt(block)
    }
  }
  return { dtype: 'float32', shape: x.shape, data: out }
}

/** @throws LOWBIT_SHAPE */
export function expectHadamardBlock(x: HostTensor<'float32'>, block: number): void {
  const along = x.shape[x.shape.length - 1] ?? 1
  if (!Number.isInteger(block) || block < 1 || (block & (block - 1)) !== 0 || along % block !== 0) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'Hadamard transform', found: `block ${block} on a last axis of ${along}`, expected: 'a power of two that divides it', fix: 'give `block`, or pad the axis' })
  }
}

function oddBits(value: number): boolean {
  let odd = false
  for (let v = value; v !== 0; v &= v - 1) odd = !odd
  return odd
}
