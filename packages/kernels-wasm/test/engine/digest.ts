import { toyActivations, toyWeights, type ToyWeight } from '@lowbit/core/testkit'
import type { SyncKernelProvider } from '@lowbit/core'

const WEIGHTS: readonly ToyWeight[] = [
  { name: 'int4/group', dtype: 'int4', group: 32 },
  { name: 'uint4/group', dtype: 'uint4', group: 16, asymmetric: true },
  { name: 'uint4/group', dtype: 'uint4', group: 128, asymmetric: true, floatZero: true },
  { name: 'int3/group', dtype: 'int3', group: 64 },
  { name: 'int2/group', dtype: 'int2', group: 32 },
  { name: 'ternary/tensor', dtype: 'ternary', perTensor: true },
  { name: 'int8/channel', dtype: 'int8' },
  { name: 'uint8/channel', dtype: 'uint8', asymmetric: true },
]

/** A number of every result's bits: the same on every tier, engine and number of threads. */
export function digest(kernels: SyncKernelProvider): string {
  let hash = 0x811c9dc5
  const add = (values: Float32Array): void => {
    for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  }
  for (const weight of WEIGHTS) {
    const bias = Float32Array.from({ length: 67 }, (_, i) => Math.fround(Math.sin(i)))
    const q = toyWeights(weight, 67, 300, 11)
    using packed = kernels.prepack(q)
    for (const m of [1, 2, 7, 37]) {
      const x = toyActivations(m, 300, m)
      for (const activations of ['int8', 'int8-group', 'float32'] as const) add(kernels.matmul(x, packed, undefined, { activations, bias }).data)
    }
  }
  using floats = kernels.prepack(toyActivations(33, 130, 5))
  for (const m of [1, 6]) add(kernels.matmul(toyActivations(m, 130, 6), floats).data)
  for (const block of [2, 32, 64]) add(kernels.hadamard(toyActivations(2, 64, 7), { block }).data)
  return hash.toString(16)
}
