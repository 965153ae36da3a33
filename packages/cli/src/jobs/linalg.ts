import { fastLinAlg, isLowbitError, type LinAlg } from '@lowbit/core'
import { wasmLinAlg } from '@lowbit/kernels-wasm'

let made: { readonly linalg: LinAlg; readonly warning?: string } | undefined

/** The fastest linear algebra here: WebAssembly, or core's own where that cannot run. The same one at every call. */
export function bestLinAlg(): LinAlg {
  return best().linalg
}

/** Why it is not the fastest there is: an engine without SIMD, a process that may have no memory for it. */
export function linAlgWarning(): string | undefined {
  return best().warning
}

function best(): NonNullable<typeof made> {
  made ??= make()
  return made
}

function make(): NonNullable<typeof made> {
  try {
    return { linalg: wasmLinAlg() }
  } catch (error) {
    if (!isLowbitError(error, 'LOWBIT_UNSUPPORTED')) throw error
    return { linalg: fastLinAlg, warning: `${error.parts.thing}: ${error.parts.found}. Core’s own takes its place: slower, and the last bits of its sums differ.` }
  }
}
