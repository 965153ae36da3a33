import { sha256, updateInPieces } from '@lowbit/core'
import { isExternal, onnxChunks, tensorsOf } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { ModelSource } from './source.js'

/** SHA-256 of a model: its file as it would be written, then its external data in the order of the tensors. */
export async function fingerprint(graph: Graph, source: ModelSource): Promise<string> {
  const hash = sha256()
  const model = graph.clone().toModel()
  for (const chunk of onnxChunks(model).chunks) await updateInPieces(hash, chunk)
  for (const t of tensorsOf(model)) {
    if (!isExternal(t) || source.file === undefined) continue
    for await (const piece of source.file.externalPieces(t)) await updateInPieces(hash, piece)
  }
  return hash.hex()
}
