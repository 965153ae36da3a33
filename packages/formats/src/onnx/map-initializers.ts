import { withFields } from './copy.js'
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto } from './proto.js'

/** Changes one initializer: returns the same object to leave it. */
export type MapTensor = (t: TensorProto) => TensorProto

/** A model with its initializers changed, in the main graph and in subgraphs; what stays is shared with the original. */
export function mapInitializers(model: ModelProto, change: MapTensor): ModelProto {
  return model.graph === undefined ? model : withFields(model, { graph: mapGraph(model.graph, change) })
}

function mapGraph(g: GraphProto, change: MapTensor): GraphProto {
  return withFields(g, { initializer: g.initializer.map(change), node: g.node.map((n) => mapNode(n, change)) })
}

function mapNode(n: NodeProto, change: MapTensor): NodeProto {
  if (!n.attribute.some((a) => a.g !== undefined || a.graphs.length > 0)) return n
  return withFields(n, { attribute: n.attribute.map((a) => mapAttribute(a, change)) })
}

function mapAttribute(a: AttributeProto, change: MapTensor): AttributeProto {
  const graphs = a.graphs.map((g) => mapGraph(g, change))
  return withFields(a, a.g === undefined ? { graphs } : { graphs, g: mapGraph(a.g, change) })
}
