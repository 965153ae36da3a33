import { type QTensor, weightScalesForInt32Bias } from '@lowbit/core'
import { isExternal, type NodeProto, tensorToHost } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { operandName, type SiteRecord, siteNode } from '../sites/index.js'
import { hasIntegerProduct } from '../static/index.js'
import type { PlanBuilder } from './builder.js'
import type { PlanJob } from './format.js'
import { withScales } from './static-weights.js'

/** A job of which the activations are planned. */
export interface ReadJob extends PlanJob {
  /** How a site's input reaches its product. */
  readonly inputOf: (record: SiteRecord) => 'static' | 'float'
}

/**
 * Activations of a format whose products stay as they are: rounded for the products that read them, whatever their weights are.
 * @returns the job with the weights that such a file stores
 */
export function planReads(job: PlanJob, build: PlanBuilder): ReadJob {
  if (job.activations.size === 0) return { ...job, inputOf: () => 'float' }
  const { graph, records } = job
  const products = new Set(records.filter((r) => r.floatType === 'float32' && (hasIntegerProduct(r.op) || r.op === 'ConvTranspose')).map((r) => siteNode(graph, r)))
  for (const [id, { codes, ...params }] of job.activations) {
    const readers = graph.consumers(id).filter((node) => products.has(node) && node.input[0] === id)
    if (readers.length === 0) build.activation({ id, where: 'nowhere', reason: 'no product of float32 with a stored weight reads it' })
    else build.activation({ id, where: 'read', params, ...(codes === undefined ? {} : { codes }), readers: readers.map((node) => node.output[0] ?? '') })
  }
  const inputOf = (record: SiteRecord): 'static' | 'float' => (products.has(siteNode(graph, record)) && job.activations.has(operandName(graph, record, 'data')) ? 'static' : 'float')
  return { ...job, weights: withRoomForBiases(job, build), inputOf }
}

/**
 * Runtimes round the bias behind a product of rounded values to int32 multiples of activation scale times weight scale, one that
 * stands in float in the file too. A channel that was switched off has a scale so small that its bias would be cut off; a coarser
 * scale changes such weights by next to nothing.
 */
function withRoomForBiases({ graph, records, weights, activations }: PlanJob, build: PlanBuilder): ReadonlyMap<string, QTensor> {
  const roomy = new Map(weights)
  for (const record of records) {
    const owner = record.site.tiedTo ?? record.site.id
    const q = roomy.get(owner)
    const input = record.op === 'Gather' || record.op === 'Stored' ? undefined : activations.get(operandName(graph, record, 'data'))
    const { kind } = q?.scheme.granularity ?? { kind: undefined }
    if (q === undefined || input === undefined || (kind !== 'tensor' && kind !== 'channel')) continue
    const bias = biasBehind(graph, record)
    if (bias === undefined) continue
    const raised = weightScalesForInt32Bias(bias, input.scale, q.params.scales)
    if (raised.every((s, i) => s === q.params.scales[i])) continue
    build.note(`'${record.site.id}': weight scales raised so that the bias fits int32`)
    roomy.set(owner, withScales(q, raised))
  }
  return roomy
}

/** The constant of `[N]` that is added to a product, by itself or by the Add that alone reads it. */
function biasBehind(graph: Graph, record: SiteRecord): Float32Array | undefined {
  const node = siteNode(graph, record)
  if (record.op !== 'MatMul') return vector(graph, node.input[2], record)
  const [add, ...others] = graph.consumers(record.anchor)
  if (add === undefined || others.length > 0 || !isOp(add, 'Add')) return undefined
  return vector(graph, other(add, record.anchor), record)
}

function other(add: NodeProto, name: string): string | undefined {
  return add.input.find((input) => input !== name)
}

function vector(graph: Graph, name: string | undefined, { matrix: { rows } }: SiteRecord): Float32Array | undefined {
  const constant = graph.constant(name ?? '')
  if (constant === undefined || isExternal(constant)) return undefined
  const { data } = tensorToHost(constant)
  return data instanceof Float32Array && data.length === rows ? data : undefined
}
