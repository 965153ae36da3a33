import type { Artifact } from '@lowbit/core'
import { Graph } from '../graph/index.js'
import { embedExternal, finishModel, type ModelData, type ModelInput, onnxArtifact, openSource } from '../model/index.js'
import { convertToFloat16, type Float16Conversion, type Float16Options } from './convert-to-float16.js'

export interface Float16ModelOptions extends Float16Options {
  /** Files with weights, by the names that stand in the model, for a model given as bytes or as a Blob. By path they are found beside it. */
  readonly externalData?: ModelData
}

export interface Float16Model extends Float16Conversion {
  readonly artifact: Artifact
  /** Bytes of the model as it was given. */
  readonly size: number
  close(): Promise<void>
}

/**
 * A float32 model as float16, see {@link convertToFloat16}. Saved, it is half the size.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT for files that cannot be read, LOWBIT_ABORTED
 */
export async function float16Model(model: ModelInput, { externalData, ...options }: Float16ModelOptions = {}): Promise<Float16Model> {
  const source = await openSource(model, externalData)
  try {
    if (source.file !== undefined) await embedExternal(source.file, 'constants')
    const graph = new Graph(source.model)
    const conversion = await convertToFloat16(graph, (t) => source.load(t), options)
    const notes = [...source.notes, `${conversion.converted} operators compute in float16, ${conversion.wide.length} in float32`]
    return { ...conversion, artifact: onnxArtifact('float16', finishModel(graph), source, notes), size: source.size, close: () => source.close() }
  } catch (error) {
    await source.close()
    throw error
  }
}
