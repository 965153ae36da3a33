import { type NodeProto, tensorShape } from '@lowbit/formats'
import { type Graph, isMicrosoftOp, isOp } from '../graph/index.js'
import { type SiteRecord, siteNode } from '../sites/index.js'
import { rankOf } from './rank.js'

/** Something that is divided by the scales so that a tensor is. */
export type FoldTarget =
  /** A constant vector over the channels: a gain, a bias, a factor. */
  | { readonly kind: 'vector'; readonly node: NodeProto; readonly input: number }
  /** The output rows of a site's weight. */
  | { readonly kind: 'rows'; readonly record: SiteRecord }

export interface FoldPlan {
  readonly producer: 'norm' | 'linear' | 'mul'
  readonly targets: readonly FoldTarget[]
  /** True if only additions stand between the tensor and a linear operator: then rotations fold as well. */
  readonly isAffine: boolean
}

export interface FoldContext {
  readonly graph: Graph
  readonly records: readonly SiteRecord[]
  readonly channels: number
  /** Axis of the channels counted from the end: 1 for matrices; images of rank 4 have 3. */
  readonly fromEnd: number
}

/** What produces a tensor and can take a division of its channels, or why nothing can. */
export function foldPlan(context: FoldContext, tensor: string, readers: readonly NodeProto[], depth = 0): FoldPlan | string {
  const { graph } = context
  if (graph.isOutput(tensor)) return `'${tensor}' is an output of the model`
  const other = graph.consumers(tensor).find((n) => !readers.includes(n) || graph.captures(n).has(tensor))
  if (other !== undefined) return `'${tensor}' is read by '${other.name || other.opType}' too`
  const node = graph.producer(tensor)
  if (node === undefined) return `'${tensor}' is an input of the model`
  if (depth > 8 || node.output[0] !== tensor) return `'${node.name || node.opType}' is too far away`

  const norm = normVectors(node)
  if (norm !== undefined) {
    const elsewhere = otherAxis(context, node, tensor)
    if (elsewhere !== undefined) return elsewhere
    const targets = norm.filter((input) => (node.input[input] ?? '') !== '').map((input): FoldTarget => ({ kind: 'vector', node, input }))
    const fits = targets.every((t) => t.kind === 'vector' && isVector(context, node.input[t.input] ?? '', 'plain'))
    return fits && targets.length > 0 ? { producer: 'norm', targets, isAffine: false } : `the gain of '${node.name || node.opType}' is not a constant over the channels`
  }
  const record = context.records.find((r) => r.anchor === tensor && r.op !== 'Gather' && r.op !== 'Stored')
  if (record !== undefined) return linearPlan(context, record, node)
  if (isOp(node, 'Mul')) return mulPlan(context, node, depth)
  if (isOp(node, 'Add')) {
    const constant = [1, 0].find((i) => isVector(context, node.input[i] ?? '', 'broadcast'))
    if (constant === undefined) return `'${node.name || 'Add'}' adds two activations`
    const rest = foldPlan(context, node.input[1 - constant] ?? '', [node], depth + 1)
    return typeof rest === 'string' ? rest : { ...rest, targets: [...rest.targets, { kind: 'vector', node, input: constant }] }
  }
  if (PASS.some((op) => isOp(node, op)) || (context.fromEnd > 1 && POOLS.some((op) => isOp(node, op)))) {
    const rest = foldPlan(context, node.input[0] ?? '', [node], depth + 1)
    return typeof rest === 'string' ? rest : { ...rest, isAffine: rest.isAffine && isOp(node, 'Identity') }
  }
  return `'${node.name || node.opType}' (${node.opType}) takes no scale`
}

/** Operators that a positive factor a channel goes through unchanged. */
const PASS = ['Relu', 'LeakyRelu', 'Identity', 'Dropout']
const POOLS = ['MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool']

/** Inputs of a normalization that are vectors over its channels. */
function normVectors(node: NodeProto): readonly number[] | undefined {
  if (isOp(node, 'LayerNormalization') || isOp(node, 'BatchNormalization') || isOp(node, 'InstanceNormalization')) return [1, 2]
  if (isOp(node, 'RMSNormalization') || node.opType === 'SimplifiedLayerNormalization') return [1]
  if (isMicrosoftOp(node, 'SkipLayerNormalization')) return [2, 3]
  if (isMicrosoftOp(node, 'SkipSimplifiedLayerNormalization')) return [2]
  return undefined
}

/** Why the vectors of a normalization do not lie along the channels; undefined where they do. */
function otherAxis({ graph, fromEnd }: FoldContext, node: NodeProto, tensor: string): string | undefined {
  const name = node.name || node.opType
  const isSecond = isOp(node, 'BatchNormalization') || isOp(node, 'InstanceNormalization')
  if (!isSecond) return fromEnd === 1 ? undefined : `'${name}' has its gain along the last axis, the channels of a convolution are the second`
  // Convolutions read the second axis; a matrix reads the last, which is the second of two.
  if (fromEnd > 1) return undefined
  const rank = rankOf(graph, tensor)
  return rank === 2 ? undefined : `'${name}' has its gain along the second axis of ${rank === undefined ? 'an unknown number' : rank}, a matrix reads the last`
}

function linearPlan(context: FoldContext, record: SiteRecord, node: NodeProto): FoldPlan | string {
  const { graph, records } = context
  const owner = record.site.tiedTo ?? record.site.id
  if (records.some((r) => r !== record && (r.site.tiedTo ?? r.site.id) === owner)) return `'${record.site.id}' shares its weight with another site`
  if (record.matrix.rows !== context.channels) return `'${record.site.id}' makes ${record.matrix.rows} channels, not ${context.channels}`
  if (channelsFromEnd(record) !== context.fromEnd) return `'${record.site.id}' has its channels on another axis`
  const targets: FoldTarget[] = [{ kind: 'rows', record }]
  const bias = node.input[2] ?? ''
  if (bias !== '') {
    if (record.op === 'Gemm' ? !isVector(context, bias, 'broadcast') : !isVector(context, bias, 'plain')) return `the bias of '${record.site.id}' is not a constant over the channels`
    targets.push({ kind: 'vector', node, input: 2 })
  }
  return graph.isOutput(record.anchor) ? `'${record.anchor}' is an output of the model` : { producer: 'linear', targets, isAffine: true }
}

function mulPlan(context: FoldContext, node: NodeProto, depth: number): FoldPlan | string {
  const { graph } = context
  const constant = [1, 0].find((i) => isVector(context, node.input[i] ?? '', 'broadcast'))
  if (constant !== undefined) {
    const producer = isNormalized(graph, node.input[1 - constant] ?? '') ? 'norm' : 'mul'
    return { producer, targets: [{ kind: 'vector', node, input: constant }], isAffine: false }
  }
  // A factor of a product takes the whole scale: up_proj of a gated layer.
  let reason = `'${node.name || 'Mul'}' multiplies two activations`
  for (const i of [1, 0]) {
    if (node.input[0] === node.input[1]) break
    const rest = foldPlan(context, node.input[i] ?? '', [node], depth + 1)
    if (typeof rest !== 'string') return { ...rest, isAffine: false }
    reason = rest
  }
  return reason
}

/** True for `x / sqrt(…)`, `x · rsqrt`, or `x · (1 / sqrt(…))`: the unscaled part of a decomposed norm. */
function isNormalized(graph: Graph, name: string): boolean {
  const node = graph.producer(name)
  if (node === undefined) return false
  if (isOp(node, 'Div')) return comesFromSqrt(graph, node.input[1] ?? '')
  return isOp(node, 'Mul') && node.input.some((input) => comesFromSqrt(graph, input))
}

function comesFromSqrt(graph: Graph, name: string): boolean {
  for (let i = 0, at = name; i < 3; i++) {
    const node = graph.producer(at)
    if (node === undefined) return false
    if (isOp(node, 'Sqrt')) return true
    if (isOp(node, 'Pow')) return i < 3
    if (isOp(node, 'Reciprocal')) at = node.input[0] ?? ''
    else if (isOp(node, 'Div')) at = node.input[1] ?? ''
    else return false
  }
  return false
}

/** True for a float constant with one value a channel: `[C]`, or broadcast over the other axes. */
function isVector({ graph, channels, fromEnd }: FoldContext, name: string, how: 'plain' | 'broadcast'): boolean {
  const stored = graph.constant(name)
  if (stored === undefined) return false
  const shape = tensorShape(stored)
  if (shape.reduce((a, b) => a * b, 1) !== channels) return false
  if (how === 'plain') return shape.length === 1
  return channels === 1 || (shape.length >= fromEnd && shape[shape.length - fromEnd] === channels)
}

/** Axis of a site's channels, input and output alike, counted from the end: convolutions have them second, matrices last. */
export function channelsFromEnd({ site, matrix }: SiteRecord): number {
  return site.kind === 'conv' ? matrix.shape.length - 1 : 1
}

/** The nodes of sites. */
export function nodesOf(graph: Graph, records: readonly SiteRecord[]): NodeProto[] {
  return records.map((r) => siteNode(graph, r))
}
