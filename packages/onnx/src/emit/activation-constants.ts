import type { ActivationParams, HostTensor } from '@lowbit/core'
import { addConstant, type Graph } from '../graph/index.js'

/** Scale and zero point of activations as initializers, one pair for all tensors that share them. */
export function activationConstants(graph: Graph): (params: ActivationParams, base: string) => readonly [string, string] {
  const made = new Map<string, readonly [string, string]>()
  return (params, base) => {
    const key = `${params.dtype} ${params.scale} ${params.zeroPoint}`
    const found = made.get(key)
    if (found !== undefined) return found
    const pair = [
      addConstant(graph, `${base}_scale`, { dtype: 'float32', shape: [], data: Float32Array.of(params.scale) }),
      addConstant(graph, `${base}_zero_point`, zeroPointTensor(params)),
    ] as const
    made.set(key, pair)
    return pair
  }
}

function zeroPointTensor({ dtype, zeroPoint }: ActivationParams): HostTensor {
  switch (dtype) {
    case 'int8': return { dtype, shape: [], data: Int8Array.of(zeroPoint) }
    case 'uint8': return { dtype, shape: [], data: Uint8Array.of(zeroPoint) }
    case 'int16': return { dtype, shape: [], data: Int16Array.of(zeroPoint) }
    case 'uint16': return { dtype, shape: [], data: Uint16Array.of(zeroPoint) }
  }
}
