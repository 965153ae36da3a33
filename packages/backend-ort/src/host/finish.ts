import { DataType, type ModelProto, tensorsOf } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'

/** Versions of the file format that brought element types. */
const TYPE_VERSIONS: readonly (readonly [DataType, bigint])[] = [[DataType.INT4, 10n], [DataType.UINT4, 10n]]

/** Before version 4 every initializer had to be an input as well. */
const FREE_INITIALIZERS = 4n

/** Nodes in order, a file-format version that knows the types used, and the model as a message. */
export function finishModel(graph: Graph): ModelProto {
  const model = graph.toModel()
  const types = new Set<number>()
  for (const t of tensorsOf(model)) types.add(t.dataType)
  let needed = FREE_INITIALIZERS
  for (const [type, version] of TYPE_VERSIONS) if (types.has(type) && version > needed) needed = version
  if (model.irVersion < FREE_INITIALIZERS) {
    // From version 4 on, an initializer that is an input too may be overridden, and the runtime folds nothing of it.
    const inputs = graph.proto.input.filter((i) => graph.initializer(i.name) === undefined)
    graph.proto.input = inputs
  }
  if (model.irVersion < needed) model.irVersion = needed
  return model
}
