import { LowbitError, type Site } from '@lowbit/core'
import type { NodeProto } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { Matrix } from './matrix.js'

/** Operators whose weights are sites. */
export type SiteOp = 'MatMul' | 'Gemm' | 'Conv' | 'ConvTranspose' | 'Gather' | 'Stored'

/** Marks a Reshape that stands for a stored tensor of other readers than the operators above: op `Stored`. */
export const STORED_MARK = 'lowbit: stored tensor'

/** A site and where it stands in the graph. */
export interface SiteRecord {
  readonly site: Site
  readonly op: SiteOp
  /** The tensor that the operator makes. It changes when something is put behind the operator under the old name. */
  anchor: string
  /** Which input of the operator is the weight, and which the data. */
  readonly weightInput: number
  readonly dataInput: number
  readonly matrix: Matrix
  /** What the operator computes in. It changes where a plan lets a float16 operator compute in float32. */
  floatType: 'float32' | 'float16'
}

/**
 * The operator of a site in a graph: the one as opened, or a clone.
 * @throws LOWBIT_INTERNAL if it is gone
 */
export function siteNode(graph: Graph, record: SiteRecord): NodeProto {
  const node = graph.producer(record.anchor)
  if (node === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `site '${record.site.id}'`, found: `nothing makes '${record.anchor}' any more` })
  return node
}

/** Name of the tensor that is the weight (or, with `data`, the input) of a site's operator now. */
export function operandName(graph: Graph, record: SiteRecord, which: 'weight' | 'data'): string {
  const name = siteNode(graph, record).input[which === 'weight' ? record.weightInput : record.dataInput]
  if (name === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `site '${record.site.id}'`, found: `no ${which} operand` })
  return name
}
