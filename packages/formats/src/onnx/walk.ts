import type { FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto } from './proto.js'

/** Every graph of a model: the main one, subgraphs of nodes (If, Loop, Scan), those of functions and of training. */
export function* graphsOf(model: ModelProto): Generator<GraphProto> {
  if (model.graph !== undefined) yield* graphTree(model.graph)
  for (const f of model.functions) for (const node of f.node) yield* nodeGraphs(node)
  for (const training of model.trainingInfo) {
    if (training.initialization !== undefined) yield* graphTree(training.initialization)
    if (training.algorithm !== undefined) yield* graphTree(training.algorithm)
  }
}

function* graphTree(graph: GraphProto): Generator<GraphProto> {
  yield graph
  for (const node of graph.node) yield* nodeGraphs(node)
}

function* nodeGraphs(node: NodeProto): Generator<GraphProto> {
  for (const attribute of node.attribute) {
    if (attribute.g !== undefined) yield* graphTree(attribute.g)
    for (const graph of attribute.graphs) yield* graphTree(graph)
  }
}

/** Every tensor of a model: initializers, and attributes of nodes, in all graphs and functions. */
export function* tensorsOf(model: ModelProto): Generator<TensorProto> {
  for (const graph of graphsOf(model)) {
    yield* graph.initializer
    for (const sparse of graph.sparseInitializer) yield* sparseTensors(sparse)
    for (const node of graph.node) yield* nodeTensors(node)
  }
  for (const f of model.functions) yield* functionTensors(f)
}

function* functionTensors(f: FunctionProto): Generator<TensorProto> {
  for (const node of f.node) yield* nodeTensors(node)
}

function* nodeTensors(node: NodeProto): Generator<TensorProto> {
  for (const attribute of node.attribute) {
    if (attribute.t !== undefined) yield attribute.t
    yield* attribute.tensors
    if (attribute.sparseTensor !== undefined) yield* sparseTensors(attribute.sparseTensor)
    for (const sparse of attribute.sparseTensors) yield* sparseTensors(sparse)
  }
}

function* sparseTensors(sparse: SparseTensorProto): Generator<TensorProto> {
  if (sparse.values !== undefined) yield sparse.values
  if (sparse.indices !== undefined) yield sparse.indices
}
