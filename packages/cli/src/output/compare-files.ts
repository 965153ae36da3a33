import type { BatchSource, Comparison, TensorRef } from '@lowbit/core'
import type { Terminal } from './terminal.js'

/** Opens two models anew, a path or bytes each, and compares them. @param data - batches, or what makes them for the inputs of the first */
export async function compareFiles(reference: string, candidate: string | Uint8Array, data: BatchSource | ((inputs: readonly TensorRef[]) => BatchSource), { signal, onProgress }: Pick<Terminal, 'signal' | 'onProgress'>, options: { readonly saturation?: boolean; readonly latency?: boolean } = {}): Promise<Comparison> {
  const { compareModels, openOnnx } = await import('@lowbit/backend-ort')
  const a = await openOnnx(reference)
  try {
    const b = await openOnnx(candidate)
    try {
      return await compareModels(a, b, typeof data === 'function' ? data(a.inputs()) : data, { ...options, signal, onProgress })
    } finally {
      await b.dispose()
    }
  } finally {
    await a.dispose()
  }
}
