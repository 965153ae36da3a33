import { resolveOptions, type DeclarationsOf } from '@lowbit/core'
import { Graph } from '../graph/index.js'
import { embedExternal, type ModelData, type ModelInput, openSource } from '../model/index.js'
import { OnnxGraphHost } from './onnx-graph-host.js'

export interface OpenOnnxGraphOptions {
  /** Files with weights, by the names that stand in the model, for a model given as bytes or as a Blob. By path they are found beside it. */
  readonly externalData?: ModelData
}

/** What {@link openOnnxGraph} takes. */
export const OPEN_ONNX_GRAPH_OPTIONS = {
  externalData: { type: 'object', has: [], about: 'files with weights, by the names that stand in the model' },
} as const satisfies DeclarationsOf<OpenOnnxGraphOptions>

/**
 * Opens an ONNX model for what needs no runtime: rounding without data, in Node and in a page. Weights are read one at a time when
 * asked for.
 * @param model - a path (Node), a URL, a Blob or File, or the bytes of the file, which must not change while the host lives
 * @throws LOWBIT_ARGUMENT naming the option; LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT for files that cannot be read
 */
export async function openOnnxGraph(model: ModelInput, options: OpenOnnxGraphOptions = {}): Promise<OnnxGraphHost> {
  const { externalData } = resolveOptions<OpenOnnxGraphOptions, typeof OPEN_ONNX_GRAPH_OPTIONS>(OPEN_ONNX_GRAPH_OPTIONS, options, 'openOnnxGraph')
  const source = await openSource(model, externalData)
  try {
    if (source.file !== undefined) await embedExternal(source.file, 'constants')
    return new OnnxGraphHost(source, new Graph(source.model))
  } catch (error) {
    await source.close()
    throw error
  }
}
