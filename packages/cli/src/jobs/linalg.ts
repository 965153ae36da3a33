import { fastLinAlg, isLowbitError, type LinAlg } from '@lowbit/core'
import { wasmLinAlg } from '@lowbit/kernels-wasm'

let made: LinAlg | undefined

/** The fastest linear algebra here: WebAssembly, or core's own in an engine without SIMD. The same one at every call. */
export function bestLinAlg(): LinAlg {
  made ??= make()
  return made
}

function make(): LinAlg {
  try {
    return wasmLinAlg()
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_UNSUPPORTED')) return fastLinAlg
    throw error
  }
}
