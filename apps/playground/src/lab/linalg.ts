import { fastLinAlg, type LinAlg } from '@lowbit/core'
import { wasmLinAlg } from '@lowbit/kernels-wasm'

/** The fastest linear algebra of this browser. */
export function bestLinAlg(): LinAlg {
  try {
    return wasmLinAlg()
  } catch {
    // An engine without SIMD: slower, and right.
    return fastLinAlg
  }
}
