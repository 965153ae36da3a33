import { resolveOptions, type DeclarationsOf } from '@lowbit/core'
import { embedExternal, externalBytes, Graph, type ModelData, type ModelInput, OPEN_ONNX_GRAPH_OPTIONS, openSource } from '@lowbit/onnx'
import { OnnxHost } from './host/onnx-host.js'
import { findOrt, type OrtModule, type SessionOptions } from './ort.js'
import { PREPARE_OPTIONS, prepareGraph, type PrepareOptions } from './prepare/index.js'

/** A protobuf holds 2 GiB, and preparing needs the model in one: no more than this is read out of external data files. */
const MAX_EMBEDDED = 1.5e9

export interface OpenOnnxOptions {
  /** The ONNX Runtime to use: the module `onnxruntime-node` or `onnxruntime-web`. Default: whichever is installed, loaded when first needed. */
  readonly ort?: OrtModule
  /** Handed to every session: `executionProviders`, `intraOpNumThreads` … */
  readonly sessionOptions?: SessionOptions
  /**
   * Prepare the model first: constants and normalizations folded, opset upgraded, each step checked by running. Static
   * quantization wants it; it loads the runtime, and weights out of external data files up to 1.5 GB. Default false.
   */
  readonly prepare?: boolean | PrepareOptions
  /** Files with weights, by the names that stand in the model, for a model given as bytes or as a Blob; Blobs are read a tensor at a time. By path they are found beside it. */
  readonly externalData?: ModelData
}

/** What {@link openOnnx} takes. */
export const OPEN_ONNX_OPTIONS = {
  ort: { type: 'object', has: ['InferenceSession', 'Tensor'], otherwise: 'whichever is installed', about: 'the ONNX Runtime to use' },
  sessionOptions: { type: 'record', of: { type: 'json' }, about: 'handed to every session' },
  prepare: { type: 'either', of: [{ type: 'boolean' }, { type: 'options', options: PREPARE_OPTIONS }], default: false, about: 'prepare the model first, as static quantization wants it' },
  externalData: OPEN_ONNX_GRAPH_OPTIONS.externalData,
} as const satisfies DeclarationsOf<OpenOnnxOptions>

/**
 * Opens an ONNX model for quantization.
 *
 * Weights are read one at a time when asked for; the runtime is loaded only when the model is run or observed.
 * @param model - a path (Node), a URL, a Blob or File, or the bytes of the file, which must not change while the host lives
 * @throws LOWBIT_ARGUMENT naming the option; LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT for files that cannot be read
 */
export async function openOnnx(model: ModelInput, options: OpenOnnxOptions = {}): Promise<OnnxHost> {
  const { prepare, ort, sessionOptions = {} } = resolveOptions<OpenOnnxOptions, typeof OPEN_ONNX_OPTIONS>(OPEN_ONNX_OPTIONS, options, 'openOnnx')
  const source = await openSource(model, options.externalData)
  try {
    const isTooLarge = externalBytes(source.model) > MAX_EMBEDDED
    if (source.file !== undefined) await embedExternal(source.file, prepare === false || isTooLarge ? 'constants' : 'all')
    const graph = new Graph(source.model)
    if (prepare === false) return new OnnxHost(source, graph, ort, sessionOptions)
    if (isTooLarge) return new OnnxHost(source, graph, ort, sessionOptions, [`not prepared: ${(source.size / 1e9).toFixed(1)} GB with external data do not fit one file`])
    const prepared = await prepareGraph(await findOrt(ort), graph, prepare === true ? {} : prepare)
    return new OnnxHost(source, prepared.graph, ort, sessionOptions, prepared.notes)
  } catch (error) {
    await source.close()
    throw error
  }
}
