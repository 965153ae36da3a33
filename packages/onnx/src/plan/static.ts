import { type Acceptance, type ActivationParams, type QTensor, quantizeBias, type Scheme, weightScalesForInt32Bias } from '@lowbit/core'
import { floatAttribute, isExternal, type NodeProto, tensorToHost } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { operandName, type SiteRecord, siteNode } from '../sites/index.js'
import { hasIntegerProduct, hasStaticProduct, widen, writesIntegersOnly } from '../static/index.js'
import { neverAccepted, YES } from './accept.js'
import type { PlanBuilder } from './builder.js'
import { decidedWeights } from './by-weight.js'
import { dequantized } from './dequantized.js'
import type { Format, PlanJob } from './format.js'
import { isGatherable, looked } from './lookups.js'
import { StaticPoints } from './static-points.js'
import { expectSuitable, isWideWeight, staticTensors, unsuitableWeight, withScales } from './static-weights.js'

/**
 * Static int8 as QuantizeLinear / DequantizeLinear pairs, which ONNX Runtime fuses into integer operators.
 *
 * Settings: `weightStorage`, `uint8` (default, exact on every CPU: signed codes of weights and activations are moved up by 128) or
 * `int8` (as they are: up to a third faster on x86 without VNNI, and exact there only with weights of a reduced range).
 */
export const qdq: Format = staticFormat('qdq')

/** Static int8 with integer operators in the file: for runtimes that do not fuse. Settings as {@link qdq}. */
export const qoperator: Format = staticFormat('qoperator')

function staticFormat(name: string): Format {
  return {
    name,
    oldest: { below: 13, to: 13, reason: 'older ones have no scales per channel' },
    accepts: acceptsStatic,
    plan: (job, build) => planStatic(job, build),
  }
}

/** Integer kernels take int8 per channel or tensor, without zero points; sites without such a kernel take more, and 16 bits compute in float. */
function acceptsStatic(record: SiteRecord, scheme: Scheme): Acceptance {
  const never = neverAccepted(scheme)
  if (never !== undefined || !hasIntegerProduct(record.op)) return never ?? YES
  if (isWideWeight({ scheme })) return YES
  const reason = unsuitableWeight({ scheme })
  return reason === undefined ? YES : { ok: false, reason: `integer kernels do not take ${reason}`, instead: { dtype: 'int8', granularity: { kind: 'channel', axis: 0 }, symmetric: true } }
}

/**
 * Plans a static quantization.
 * @param floatWeights - owners whose weight stays in float though their products count as ones of integers: for measuring what the
 * rounding of the weight costs
 */
export function planStatic(job: PlanJob, build: PlanBuilder, floatWeights: ReadonlySet<string> = new Set()): void {
  const graph = job.graph.clone()
  const records = job.records.map((record) => ({ ...record }))
  widen(graph, records, new Set(job.activations.keys()), new Set(job.weights.keys()))
  const storage = job.settings.weightStorage
  const activations = storage === 'uint8' ? unsignedActivations(job.activations) : job.activations
  // Embedding tables are looked up as codes, transposed convolutions compute in float: nothing to calibrate.
  for (const { owner, sites, q } of decidedWeights({ weights: job.weights, records: records.filter((r) => !hasStaticProduct(r) && !floatWeights.has(r.site.tiedTo ?? r.site.id)) })) {
    if (owner.op === 'Gather' && isGatherable(q)) build.weight(looked(sites, owner, q))
    else build.weight(dequantized(owner, sites, q, graph.opset(), 'run', owner.op === 'ConvTranspose' ? 'ConvTranspose has no integer operator' : owner.floatType !== 'float32' && hasIntegerProduct(owner.op) ? `no ${owner.floatType} activation is rounded: its weight alone` : undefined))
  }
  const products = new Map<NodeProto, string>()
  const shared = new Map<string, { owner: SiteRecord; sites: SiteRecord[]; q: QTensor; wide: boolean }>()
  for (const record of records) {
    const owner = record.site.tiedTo ?? record.site.id
    const decided = job.weights.get(owner)
    if (decided === undefined || !hasStaticProduct(record)) continue
    const node = siteNode(graph, record)
    const wide = isWideWeight(decided)
    const input = wide ? undefined : activations.get(operandName(graph, record, 'data'))
    if (!wide) expectSuitable(record, decided)
    if (input !== undefined) products.set(node, operandName(graph, record, 'data'))
    const q = input === undefined || job.settings.bias === 'float' ? decided : withRoomForBias(graph, record, node, decided, input, build)
    if (floatWeights.has(owner)) continue
    // Tied weights are stored once; a raised scale makes another weight of it.
    const key = JSON.stringify([owner, record.matrix.orientation, q === decided ? '' : record.site.id])
    const known = shared.get(key)
    if (known === undefined) shared.set(key, { owner: record, sites: [record], q, wide })
    else known.sites.push(record)
  }
  const isInteger = (record: SiteRecord): boolean => products.has(siteNode(graph, record))
  for (const { owner, sites, q, wide } of shared.values()) {
    if (wide) build.weight(dequantized(owner, sites, q, graph.opset(), 'run', '16-bit weights have no integer operator'))
    else {
      build.weight({
        owner, sites, q, form: 'static', shift: storage === 'uint8' ? 128 : 0, tensors: staticTensors(owner, q, storage), operator: (record) => record.op,
        input: (record) => (isInteger(record) ? 'static' : 'float'),
        reason: (record) => (isInteger(record) ? undefined : 'its input stays in float: the weight is rounded, the product is one of floats'),
      })
    }
  }
  for (const activation of new StaticPoints(graph, activations, products).plan()) build.activation(activation)
}

/** Plans the bias of an integer product, and raises scales of the weight where the bias would not fit int32. */
function withRoomForBias(graph: Graph, record: SiteRecord, node: NodeProto, q: QTensor, input: ActivationParams, build: PlanBuilder): QTensor {
  const bias = biasOf(graph, node)
  if (bias === undefined) return q
  const raised = weightScalesForInt32Bias(bias, input.scale, q.params.scales)
  const isRaised = raised.some((s, i) => s !== q.params.scales[i])
  if (isRaised) build.note(`'${record.site.id}': weight scales raised so that the bias fits int32`)
  const { codes, scales } = quantizeBias(bias, input.scale, isRaised ? raised : q.params.scales, isOp(node, 'Gemm') ? floatAttribute(node, 'beta', 1) : 1)
  build.bias({ site: record.site.id, codes: { dtype: 'int32', shape: [codes.length], data: codes }, scales: { dtype: 'float32', shape: scales.length > 1 ? [scales.length] : [], data: scales } })
  return isRaised ? withScales(q, raised) : q
}

function biasOf(graph: Graph, node: NodeProto): Float32Array | undefined {
  if (!writesIntegersOnly(node) && !isOp(node, 'Gemm')) return undefined
  const constant = graph.constant(node.input[2] ?? '')
  if (constant === undefined || isExternal(constant)) return undefined
  const { dtype, data, shape } = tensorToHost(constant)
  return dtype === 'float32' && shape.length === 1 && data instanceof Float32Array ? data : undefined
}

/**
 * Signed 8-bit codes moved up by 128: the same values. Convolutions of signed activations take signed weights alone, and on x86
 * without VNNI those products go through the kernel for unsigned activations and signed weights, which saturates.
 */
function unsignedActivations(activations: ReadonlyMap<string, ActivationParams>): ReadonlyMap<string, ActivationParams> {
  return new Map([...activations].map(([id, params]) => [id, params.dtype === 'int8' ? { ...params, dtype: 'uint8', zeroPoint: params.zeroPoint + 128 } : params]))
}
