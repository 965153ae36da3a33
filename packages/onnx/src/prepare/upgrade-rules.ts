import { LowbitError } from '@lowbit/core'
import { attribute, findAttribute, floatAttribute, hostToTensor, intAttribute, intsAttribute, node as makeNode, type NodeProto, stringAttribute } from '@lowbit/formats'
import { addFloats, type Graph } from '../graph/index.js'
import { halfTensors, holdsHalf } from '../static/half-tensors.js'

/** Rewrites a node of the version before into one of this version. Nodes it returns stand in its place; none: it was changed in place. */
export type UpgradeRule = (node: NodeProto, context: UpgradeContext) => readonly NodeProto[] | undefined

/** What rules may use: constants and names of the main graph, which subgraphs see too. */
export class UpgradeContext {
  readonly #graph: Graph
  #isHalf: ((name: string) => boolean) | undefined

  constructor(graph: Graph) {
    this.#graph = graph
  }

  ints(base: string, values: readonly number[]): string {
    return this.#graph.addInitializer(hostToTensor(this.#graph.freshName(base), { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) }))
  }

  floats(base: string, values: readonly number[]): string {
    return addFloats(this.#graph, base, Float32Array.from(values), [values.length])
  }

  /** A scalar of the type that a tensor has. */
  scalar(base: string, value: number, like: string): string {
    this.#isHalf ??= holdsHalf(this.#graph) ? halfTensors(this.#graph) : () => false
    return addFloats(this.#graph, base, Float32Array.of(value), [], this.#isHalf(like) ? 'float16' : 'float32')
  }

  name(base: string): string {
    return this.#graph.freshName(base)
  }
}

function drop(node: NodeProto, name: string): void {
  node.attribute = node.attribute.filter((a) => a.name !== name)
}

/** An attribute of integers that became an input. */
function toInput(name: string, position: number): UpgradeRule {
  return (node, context) => {
    const found = findAttribute(node, name)
    if (found === undefined) return undefined
    setInput(node, position, context.ints(`${node.output[0] ?? node.opType}_${name}`, found.ints.map(Number)))
    drop(node, name)
    return undefined
  }
}

function setInput(node: NodeProto, position: number, name: string): void {
  while (node.input.length < position) node.input.push('')
  node.input[position] = name
}

const refuse = (what: string): UpgradeRule => (node) => {
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `node '${node.name || (node.output[0] ?? '')}' (${node.opType})`, found: what, expected: 'an operator lowbit can upgrade', fix: 'export the model again at a newer opset' })
}

const clip: UpgradeRule = (node, context) => {
  const low = findAttribute(node, 'min')
  const high = findAttribute(node, 'max')
  if (low !== undefined) setInput(node, 1, context.scalar(`${node.output[0] ?? ''}_min`, low.f, node.input[0] ?? ''))
  if (high !== undefined) setInput(node, 2, context.scalar(`${node.output[0] ?? ''}_max`, high.f, node.input[0] ?? ''))
  drop(node, 'min')
  drop(node, 'max')
  return undefined
}

const pad: UpgradeRule = (node, context) => {
  const pads = intsAttribute(node, 'pads') ?? []
  setInput(node, 1, context.ints(`${node.output[0] ?? ''}_pads`, pads))
  const value = floatAttribute(node, 'value', 0)
  if (value !== 0) setInput(node, 2, context.scalar(`${node.output[0] ?? ''}_value`, value, node.input[0] ?? ''))
  drop(node, 'pads')
  drop(node, 'value')
  return undefined
}

const slice: UpgradeRule = (node, context) => {
  const starts = intsAttribute(node, 'starts') ?? []
  const base = node.output[0] ?? ''
  setInput(node, 1, context.ints(`${base}_starts`, starts))
  setInput(node, 2, context.ints(`${base}_ends`, intsAttribute(node, 'ends') ?? []))
  setInput(node, 3, context.ints(`${base}_axes`, intsAttribute(node, 'axes') ?? starts.map((_, i) => i)))
  for (const name of ['starts', 'ends', 'axes']) drop(node, name)
  return undefined
}

/** Before 13 these flattened their input to two dimensions at the axis; since then they work along one axis. */
const softmax: UpgradeRule = (node, context) => {
  const axis = intAttribute(node, 'axis', 1)
  const [input = ''] = node.input
  const [output = ''] = node.output
  drop(node, 'axis')
  if (axis === -1) return undefined
  const shape = context.name(`${output}_shape`)
  const flat = context.name(`${output}_flat`)
  const done = context.name(`${output}_rows`)
  const inner = makeNode(node.opType, [flat], [done], { axis: -1 })
  return [makeNode('Shape', [input], [shape]), makeNode('Flatten', [input], [flat], { axis }), inner, makeNode('Reshape', [done, shape], [output])]
}

const split18: UpgradeRule = (node) => {
  if ((node.input[1] ?? '') === '') node.attribute.push(attribute('num_outputs', node.output.length))
  return undefined
}

const upsample: UpgradeRule = (node) => {
  node.opType = 'Resize'
  return undefined
}

/** Resize of opset 10 meant: asymmetric coordinates, rounding down when it enlarges and up when it shrinks. */
const resize11: UpgradeRule = (node) => {
  const [input = '', scales = ''] = node.input
  node.input = [input, '', scales]
  node.attribute.push(attribute('coordinate_transformation_mode', 'asymmetric'))
  if (stringAttribute(node, 'mode', 'nearest') === 'nearest') node.attribute.push(attribute('nearest_mode', 'floor'))
  return undefined
}

const dropout: UpgradeRule = (node, context) => {
  const ratio = findAttribute(node, 'ratio')
  if (ratio !== undefined) setInput(node, 1, context.scalar(`${node.output[0] ?? ''}_ratio`, ratio.f, ''))
  drop(node, 'ratio')
  return undefined
}

const batchNorm9: UpgradeRule = (node, context) => {
  if (intAttribute(node, 'spatial', 1) !== 1) return refuse('spatial = 0, which newer opsets do not have')(node, context)
  drop(node, 'spatial')
  return undefined
}

const upsampleScales: UpgradeRule = (node, context) => {
  const scales = findAttribute(node, 'scales')?.floats ?? []
  setInput(node, 1, context.floats(`${node.output[0] ?? ''}_scales`, scales))
  drop(node, 'scales')
  return undefined
}

const gridSample: UpgradeRule = (node) => {
  const mode = stringAttribute(node, 'mode', 'bilinear')
  drop(node, 'mode')
  node.attribute.push(attribute('mode', mode === 'bilinear' ? 'linear' : mode === 'bicubic' ? 'cubic' : mode))
  return undefined
}

const rename = (op: string): UpgradeRule => (node) => {
  node.opType = op
  return undefined
}

const roiAlign: UpgradeRule = (node) => {
  node.attribute.push(attribute('coordinate_transformation_mode', 'output_half_pixel'))
  return undefined
}

const topK: UpgradeRule = (node, context) => {
  setInput(node, 1, context.ints(`${node.output[0] ?? ''}_k`, [intAttribute(node, 'k', 1)]))
  drop(node, 'k')
  return undefined
}

const trimOutputs: UpgradeRule = (node) => {
  node.output = node.output.slice(0, 1)
  return undefined
}

const REDUCTIONS = ['ReduceL1', 'ReduceL2', 'ReduceLogSum', 'ReduceLogSumExp', 'ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceProd', 'ReduceSumSquare']

/** Version → operator → what changes when a node of the version before enters it. Additions that change nothing are not listed. */
export const UPGRADE_RULES: Readonly<Record<number, Readonly<Record<string, UpgradeRule>>>> = {
  9: { BatchNormalization: batchNorm9, Scan: refuse('a Scan of opset 8'), Upsample: upsampleScales },
  10: { Slice: slice, TopK: topK, Upsample: upsample },
  11: { Clip: clip, Pad: pad, Resize: resize11, Scatter: rename('ScatterElements') },
  12: { Dropout: dropout },
  13: {
    Softmax: softmax,
    LogSoftmax: softmax,
    Hardmax: softmax,
    Squeeze: toInput('axes', 1),
    Unsqueeze: toInput('axes', 1),
    Split: toInput('split', 1),
    ReduceSum: toInput('axes', 1),
  },
  14: { BatchNormalization: trimOutputs },
  16: { RoiAlign: roiAlign },
  18: { ...Object.fromEntries(REDUCTIONS.map((op) => [op, toInput('axes', 1)])), Split: split18 },
  20: { GridSample: gridSample },
  21: { GroupNormalization: refuse('a GroupNormalization of opset 18, whose scale has another meaning') },
}
