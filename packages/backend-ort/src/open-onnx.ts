import type { ExternalFiles } from '@lowbit/formats'
import { OnnxHost } from './host/onnx-host.js'
import { openSource } from './host/source.js'
import type { OrtModule, SessionOptions } from './ort.js'

export interface OpenOnnxOptions {
  /** The ONNX Runtime to use: the module `onnxruntime-node` or `onnxruntime-web`. Default: whichever is installed, loaded when first needed. */
  readonly ort?: OrtModule
  /** Handed to every session: `executionProviders`, `intraOpNumThreads` … */
  readonly sessionOptions?: SessionOptions
  /** Files with weights, by the names that stand in the model, for a model given as bytes. By path they are found beside it. */
  readonly externalData?: ExternalFiles
}

/**
 * Opens an ONNX model for quantization.
 *
 * Weights are read one at a time when asked for; the runtime is loaded only when the model is run or observed.
 * @param model - a path (Node), or the bytes of the file, which must not change while the host lives
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT for files that cannot be read
 */
export async function openOnnx(model: string | Uint8Array, options: OpenOnnxOptions = {}): Promise<OnnxHost> {
  const source = await openSource(model, options.externalData)
  try {
    return new OnnxHost(source, options.ort, options.sessionOptions ?? {})
  } catch (error) {
    await source.close()
    throw error
  }
}
