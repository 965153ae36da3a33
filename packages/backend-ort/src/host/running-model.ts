import { hostToTensor, isExternal, mapInitializers, type ModelProto, tensorBytes, tensorsOf, tensorType, type TensorProto, writeOnnx } from '@lowbit/formats'
import { type Graph, isNode, type ModelSource } from '@lowbit/onnx'
import type { OrtModule, SessionOptions } from '../ort.js'
import { createSession, type Session } from '../session.js'

/** Loads a graph into the runtime, external data included. The graph is not changed. */
export async function openGraph(ort: OrtModule, graph: Graph, source: ModelSource, options: SessionOptions): Promise<Session> {
  const model = graph.clone().toModel()
  let external = 0
  for (const t of tensorsOf(model)) if (isExternal(t)) external += tensorBytes(t)
  if (external === 0 || source.file === undefined) return createSession(ort, writeOnnx(model), options)
  if (!isNode()) return createSession(ort, writeOnnx(await inMemory(model, source)), options)
  return withSavedModel(model, source, (path) => createSession(ort, path, options))
}

/** Where there are no files, the model that runs holds its weights itself. */
async function inMemory(model: ModelProto, source: ModelSource): Promise<ModelProto> {
  const loaded = new Map<TensorProto, TensorProto>()
  for (const t of tensorsOf(model)) if (isExternal(t)) loaded.set(t, hostToTensor(t.name, await source.load(t), tensorType(t)))
  return mapInitializers(model, (t) => loaded.get(t) ?? t)
}

/** A model with external data goes through a temporary file: the runtime reads the data itself, and it need not fit one buffer. */
async function withSavedModel<T>(model: ModelProto, source: ModelSource, use: (path: string) => Promise<T>): Promise<T> {
  const { saveOnnx, withTemporaryFolder } = await import('@lowbit/formats/node')
  return withTemporaryFolder(async (folder) => {
    const path = `${folder}/model.onnx`
    await saveOnnx(path, model, source.file === undefined ? {} : { source: source.file })
    return use(path)
  })
}
