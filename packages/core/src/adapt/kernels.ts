import type * as V1 from '../contract/v1.js'
import type { KernelProvider, KernelWeights } from '../contract/v2/kernels.js'
import { LowbitError } from '../errors.js'
import { unpackWith } from '../layout/layout.js'
import { hasDType } from '../tensor.js'
import { identity } from './algorithms.js'

export function adaptKernels(v1: V1.KernelProvider): KernelProvider {
  return {
    ...identity(v1),
    supports: v1.supports,
    prepack: (weights, { layout } = {}) => v1.prepack(weightsOfV1('layout' in weights && layout !== undefined ? unpackWith(weights, layout) : weights, v1)),
    matmul: (x, weights, out, options) => {
      if (options?.activations === 'int8-group') throw tooYoung(v1, 'int8-group activations', 'int8 or float32')
      return v1.matmul(x, weights, out, options)
    },
    quantizeActivations: (x, options) => v1.quantizeActivations(x, options),
    dequantize: (weights) => v1.dequantize(weights),
    hadamard: (x, options) => v1.hadamard(x, options),
    dispose: () => v1.dispose(),
    [Symbol.dispose]: () => v1.dispose(),
  }
}

/** Groups with minima and levels, and half precision, are younger than v1. */
function weightsOfV1(weights: KernelWeights, v1: V1.KernelProvider): Parameters<V1.KernelProvider['prepack']>[0] {
  if ('scheme' in weights) return weights
  if ('dtype' in weights && hasDType(weights, 'float32')) return weights
  const found = 'dtype' in weights ? `${weights.dtype} weights` : 'a matrix of codes in groups'
  throw tooYoung(v1, found, 'codes with a scheme, or float32')
}

function tooYoung({ name, version }: V1.KernelProvider, found: string, expected: string): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing: `${name}@${version}`, found, expected: `${expected}: it was made for contract v1`, fix: `npm install ${name}@latest` })
}
