import { DataType, type ModelProto, tensorsOf } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { hideStored } from '../normalize/stored-tensors.js'

/** Version of the file format that brought int4 and uint4. */
const FOUR_BITS = 10n

/** Before version 4 every initializer had to be an input as well. */
const FREE_INITIALIZERS = 4n

/** Nodes in order, a file-format version that knows the types used, and the model as a message. */
export function finishModel(graph: Graph): ModelProto {
  hideStored(graph)
  const model = graph.toModel()
  const types = new Set<number>()
  for (const t of tensorsOf(model)) types.add(t.dataType)
  const needed = types.has(DataType.INT4) || types.has(DataType.UINT4) ? FOUR_BITS : FREE_INITIALIZERS
  if (model.irVersion < FREE_INITIALIZERS) {
    // From version 4 on, an initializer that is an input too may be overridden, and the runtime folds nothing of it.
    const inputs = graph.proto.input.filter((i) => graph.initializer(i.name) === undefined)
    graph.proto.input = inputs
  }
  if (model.irVersion < needed) model.irVersion = needed
  return model
}
