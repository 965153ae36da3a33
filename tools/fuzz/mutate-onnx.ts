import { attribute, AttributeType, create, DataType, graph, GraphProtoSchema, type GraphProto, hostToTensor, type ModelProto, node as makeNode, type NodeProto, readOnnx, SparseTensorProtoSchema, StringStringEntryProtoSchema, type TensorProto, valueInfo } from '@lowbit/formats'
import { BIGINTS, type Dice, FLOATS, NAMES } from './dice.js'

/** Operators that lowbit looks at, and names that are none. */
const OPERATORS = [
  'MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'Gather', 'Add', 'Mul', 'Relu', 'Clip', 'Softmax', 'Reshape', 'Transpose', 'Concat', 'Split', 'Slice', 'Pad', 'Cast', 'Identity', 'Constant', 'If', 'Loop', 'Scan',
  'LSTM', 'GRU', 'QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'MatMulInteger', 'QLinearMatMul', 'LayerNormalization', 'BatchNormalization', 'Squeeze', 'Unsqueeze', 'Flatten', 'Einsum', 'Where', 'Shape',
  'ConstantOfShape', 'Dropout', 'Resize', 'Upsample', 'TopK', 'MaxPool', 'SplitToSequence', 'Optional', 'SequenceEmpty', 'StringNormalizer', 'toString', 'constructor', '__proto__', 'hasOwnProperty', '',
]

type Mutation = (main: GraphProto, dice: Dice, model: ModelProto) => void

/** A model with a few changes to its structure, each of a kind that damaged, unusual or hostile files have. */
export function mutateOnnx(bytes: Uint8Array<ArrayBuffer>, dice: Dice): ModelProto {
  const model = readOnnx(bytes.slice())
  const main = model.graph
  if (main === undefined) return model
  const times = 1 + dice.below(4)
  for (let i = 0; i < times; i++) dice.pick(MUTATIONS)(dice.chance(0.85) ? main : innerOf(main, dice), dice, model)
  return model
}

/** A graph inside of the graph, where there is one. */
function innerOf(main: GraphProto, dice: Dice): GraphProto {
  const inner = main.node.flatMap((n) => n.attribute.flatMap((a) => (a.g === undefined ? a.graphs : [a.g, ...a.graphs])))
  return inner.length === 0 ? main : dice.pick(inner)
}

const someNode = (main: GraphProto, dice: Dice): NodeProto | undefined => (main.node.length === 0 ? undefined : dice.pick(main.node))
const someTensor = (main: GraphProto, dice: Dice): TensorProto | undefined => (main.initializer.length === 0 ? undefined : dice.pick(main.initializer))

/** A name of the graph, or one that is none of it. */
function someName(main: GraphProto, dice: Dice): string {
  if (dice.chance(0.15)) return dice.pick(NAMES)
  const names = [...main.node.flatMap((n) => [...n.input, ...n.output]), ...main.initializer.map((t) => t.name), ...main.input.map((i) => i.name)]
  return names.length === 0 ? 'x' : dice.pick(names)
}

const onNode = (change: (node: NodeProto, dice: Dice, main: GraphProto) => void): Mutation => (main, dice) => {
  const node = someNode(main, dice)
  if (node !== undefined) change(node, dice, main)
}

const onTensor = (change: (tensor: TensorProto, dice: Dice, main: GraphProto) => void): Mutation => (main, dice) => {
  const tensor = someTensor(main, dice)
  if (tensor !== undefined) change(tensor, dice, main)
}

const TYPES = Object.values(DataType)

const MUTATIONS: readonly Mutation[] = [
  onNode((node, dice) => { node.opType = dice.pick(OPERATORS) }),
  onNode((node, dice) => { node.domain = dice.pick(['', 'ai.onnx', 'com.microsoft', 'ai.onnx.ml', 'local', 'toString']) }),
  onNode((node, dice) => { node.name = dice.pick(NAMES) }),
  onNode((node, dice, main) => { if (node.input.length > 0) node.input[dice.below(node.input.length)] = someName(main, dice) }),
  onNode((node, dice, main) => { node.input.push(someName(main, dice)) }),
  onNode((node, dice) => { node.input.splice(dice.below(node.input.length + 1), 1) }),
  onNode((node, dice) => { node.output.splice(dice.below(node.output.length + 1), 1) }),
  onNode((node, dice) => { node.output.push(dice.pick(['', 'extra', 'toString'])) }),
  onNode((node, dice) => { if (node.output.length > 0) node.output[dice.below(node.output.length)] = dice.pick(NAMES) }),
  onNode((node, dice) => { node.input.reverse(); if (dice.chance(0.5)) node.output.reverse() }),
  onNode((node) => { node.output = [] }),
  onNode((node, dice) => {
    if (node.attribute.length === 0) return
    const one = dice.pick(node.attribute)
    switch (dice.below(5)) {
      case 0: one.i = dice.pick(BIGINTS); break
      case 1: if (one.ints.length > 0) one.ints[dice.below(one.ints.length)] = dice.pick(BIGINTS); else one.ints = [dice.pick(BIGINTS)]; break
      case 2: one.f = dice.pick(FLOATS); break
      case 3: one.type = dice.pick(Object.values(AttributeType)); break
      default: one.name = dice.pick([...NAMES, 'axis', 'group', 'perm', 'to', 'value'])
    }
  }),
  onNode((node, dice) => { node.attribute.splice(dice.below(node.attribute.length + 1), 1) }),
  onNode((node, dice) => { node.attribute.push(attribute(dice.pick(['axis', 'axes', 'group', 'transA', 'transB', 'alpha', 'perm', 'keepdims', 'block_size', 'to', 'strides', 'dilations', 'pads', 'auto_pad']), dice.chance(0.5) ? dice.pick(BIGINTS) : [dice.pick(BIGINTS), dice.pick(BIGINTS)])) }),
  (main, dice) => { if (main.node.length > 0) main.node.splice(dice.below(main.node.length), 1) },
  (main, dice) => { main.node.reverse(); if (dice.chance(0.5)) main.node.reverse() },
  (main, dice) => {
    const node = someNode(main, dice)
    if (node !== undefined) main.node.push(makeNode(node.opType, [...node.input], node.output.map((name) => `${name}_again`), {}, node.domain, node.name))
  },
  // Between a tensor and its readers, something that only moves it.
  (main, dice) => {
    const node = someNode(main, dice)
    if (node === undefined || node.input.length === 0) return
    const at = dice.below(node.input.length)
    const name = node.input[at]
    const moved = `${name}_moved${main.node.length}`
    main.node.splice(main.node.indexOf(node), 0, makeNode(dice.pick(['Identity', 'Cast', 'Transpose', 'Relu', 'Neg', 'Dropout', 'Flatten']), [name], [moved], dice.chance(0.5) ? { to: dice.pick([1, 10, 11, 16]) } : {}))
    node.input[at] = moved
  },
  // A node goes into a branch, which takes what it reads from outside.
  (main, dice) => {
    const at = dice.below(main.node.length)
    const node = main.node[at]
    if (node === undefined || node.output.length !== 1) return
    const [output] = node.output
    const copy = (suffix: string): GraphProto => graph({ nodes: [makeNode(node.opType, node.input, [output + suffix], {}, node.domain)], inputs: [], outputs: [valueInfo(output + suffix)], initializers: [] })
    const branches = ['_then', '_else'].map((suffix) => {
      const made = copy(suffix)
      made.node[0].attribute = node.attribute
      return made
    })
    main.initializer.push(hostToTensor('fuzz_flag', { dtype: 'bool', shape: [], data: Uint8Array.of(dice.below(2)) }))
    main.node[at] = makeNode('If', ['fuzz_flag'], [output], { then_branch: branches[0], else_branch: branches[1] })
  },
  onTensor((tensor, dice) => { if (tensor.dims.length > 0) tensor.dims[dice.below(tensor.dims.length)] = dice.pick(BIGINTS) }),
  onTensor((tensor) => { tensor.dims.reverse() }),
  onTensor((tensor, dice) => { tensor.dims.splice(dice.below(tensor.dims.length + 1), dice.below(2), ...(dice.chance(0.5) ? [1n] : [])) }),
  onTensor((tensor) => { tensor.dims = [tensor.dims.reduce((a, b) => a * b, 1n)] }),
  onTensor((tensor, dice) => { tensor.dataType = dice.chance(0.9) ? dice.pick(TYPES) : dice.below(100) }),
  onTensor((tensor, dice) => { tensor.rawData = tensor.rawData.slice(0, dice.below(tensor.rawData.length + 1)) }),
  onTensor((tensor) => { if (tensor.dataType === DataType.FLOAT) { tensor.floatData = Array.from(new Float32Array(tensor.rawData.slice().buffer, 0, Math.floor(tensor.rawData.length / 4))); tensor.rawData = new Uint8Array() } }),
  onTensor((tensor, dice) => {
    const data = tensor.rawData.slice()
    if (tensor.dataType === DataType.FLOAT && data.length >= 4) {
      const floats = new Float32Array(data.buffer, 0, Math.floor(data.length / 4))
      const value = dice.pick(FLOATS)
      if (dice.chance(0.3)) floats.fill(value); else floats[dice.below(floats.length)] = value
    } else if (data.length > 0) data.fill(dice.below(256), dice.below(data.length))
    tensor.rawData = data
  }),
  onTensor((tensor, dice, main) => { tensor.name = someName(main, dice) }),
  onTensor((tensor, dice) => { tensor.dataLocation = 1; tensor.externalData = [create(StringStringEntryProtoSchema, { key: dice.pick(['location', 'offset', 'length', 'toString']), value: dice.pick([...NAMES, '-1', '99999999999']) })]; if (dice.chance(0.5)) tensor.rawData = new Uint8Array() }),
  onTensor((tensor, dice, main) => { main.sparseInitializer.push(create(SparseTensorProtoSchema, { values: tensor, dims: [dice.pick(BIGINTS)] })) }),
  (main, dice) => { if (main.initializer.length > 0) main.initializer.splice(dice.below(main.initializer.length), 1) },
  (main, dice) => { const tensor = someTensor(main, dice); if (tensor !== undefined) main.initializer.push(tensor) },
  (main, dice) => { main.output.push(valueInfo(someName(main, dice))) },
  (main, dice) => { if (main.output.length > 0) main.output.splice(dice.below(main.output.length), 1) },
  (main, dice) => { if (main.input.length > 0) main.input[dice.below(main.input.length)] = valueInfo(dice.pick(main.input).name, dice.pick(['float32', 'float16', 'float64', 'int64', 'bool', 'bfloat16', 'uint8']), dice.chance(0.3) ? undefined : Array.from({ length: dice.below(5) }, () => dice.pick(['n', 1, 2, 64, 0]))) },
  (main, dice) => { if (main.input.length > 0) main.input.splice(dice.below(main.input.length), 1) },
  (main, dice) => { const tensor = someTensor(main, dice); if (tensor !== undefined) main.input.push(valueInfo(tensor.name, 'float32', tensor.dims.map(Number))) },
  (main, dice) => { main.valueInfo.push(valueInfo(someName(main, dice), dice.pick(['float32', 'float16', 'int64']), [dice.pick([1, 2, 0, 64])])) },
  (_, dice, model) => { for (const opset of model.opsetImport) if (opset.domain === '' || dice.chance(0.2)) opset.version = dice.chance(0.9) ? BigInt(7 + dice.below(18)) : dice.pick(BIGINTS) },
  (_, dice, model) => { model.irVersion = dice.chance(0.7) ? BigInt(3 + dice.below(9)) : dice.pick(BIGINTS) },
  (_, dice, model) => { if (dice.chance(0.5)) model.opsetImport = []; else model.opsetImport.push(...model.opsetImport) },
  (main, dice, model) => { if (dice.chance(0.05)) model.graph = create(GraphProtoSchema, {}); else main.name = dice.pick(NAMES) },
]
