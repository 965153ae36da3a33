import { bitsOf, codeRange, type Json, type Plan, type PlannedActivation, partsValue, type PlannedWeight, throwIfAborted } from '@lowbit/core'
import { writeOnnx } from '@lowbit/formats'
import { type DecidedActivation, expectFormat, finishModel, type OnnxPlan, planModel, type SiteRecord, storedType, writePlan, writeRows } from '@lowbit/onnx'
import { siteMatrix } from '../../onnx/site-matrix.js'
import { describeSite } from '../describe-site.js'
import type { Rounding } from '../float-model.js'
import type { SiteState } from '../site-state.js'
import { artifact } from './artifact.js'
import { roundedTo } from './neutral.js'
import { decidedWeights, type LayersFormat, type PlanContext, type PlannedModel } from './layers-format.js'

/** The formats of ONNX files that leave products as they are: what training leaves, in whatever bits, has a place in them. */
export const ONNX_FORMATS: readonly LayersFormat[] = ['dequantize', 'matmul-nbits'].map(onnxFormat)

function onnxFormat(format: string): LayersFormat {
  return {
    format,
    accepts: (site, scheme) => expectFormat(format).accepts(recordOf(site), scheme),
    plan: (context, settings) => planOnnx(context, format, settings),
  }
}

/** The site as formats look at it before there is a graph. */
function recordOf(site: SiteState): SiteRecord {
  const { form } = site.at.weight
  const isTable = form === 'embedding'
  const spatial = site.at.variable.shape.slice(0, -2)
  return {
    site: describeSite(site), anchor: site.at.id, weightInput: isTable ? 0 : 1, dataInput: isTable ? 1 : 0, floatType: 'float32',
    ...(isTable ? { op: 'Gather', matrix: siteMatrix(site, 'NK') } : form === 'dense' ? { op: 'MatMul', matrix: siteMatrix(site, 'KN') } : form === 'transposed' ? { op: 'ConvTranspose', matrix: siteMatrix(site, 'transposed', spatial) } : { op: 'Conv', matrix: siteMatrix(site, 'conv', spatial) }),
  }
}

function planOnnx(context: PlanContext, format: string, settings: Readonly<Record<string, Json>>): PlannedModel {
  const { graph, records, points } = context.graph()
  const decided = decidedWeights(context.sites)
  const weights = new Map([...decided].filter(([, q]) => storedType(q.scheme) !== undefined))
  const activations = new Map([...points].flatMap(([tensor, point]) => {
    const rule = context.activations.get(point)
    if (rule === undefined) return []
    const { params, codes } = roundedTo(rule)
    const decision: DecidedActivation = { ...params, ...(codes === undefined ? {} : { codes }) }
    return [[tensor, decision] as const]
  }))
  const written = planModel(graph, records, { weights, activations }, format, settings)
  const unsaid = context.sites.filter(({ at }) => decided.has(at.id) && !weights.has(at.id))
  const plan = shownPlan(written, points, unsaid, format)
  return {
    plan,
    weights: new Map([...written.weights.flatMap((w) => valuesOf(w, context.sites)), ...unsaid.map((s) => [s.at.id, s.q?.values ?? s.weight] as const)]),
    activations: new Map(plan.activations.flatMap((a) => (a.where === 'read' ? [[a.id, roundingOf(a)] as const] : []))),
    write({ provenance, signal }) {
      throwIfAborted(signal, `writing ${format}`)
      const copy = graph.clone()
      const own = records.map((r) => ({ ...r }))
      for (const { at, q } of unsaid) if (q !== undefined) writeRows(copy, own.filter((r) => (r.site.tiedTo ?? r.site.id) === at.id), Float32Array.from(q.values))
      writePlan(copy, own, written)
      if (provenance !== undefined) copy.setMetadata('lowbit.recipe', JSON.stringify(provenance.recipe))
      return artifact(format, [{ bytes: writeOnnx(finishModel(copy)) }], plan.notes)
    },
  }
}

function roundingOf({ params: { dtype, scale, zeroPoint }, codes }: Extract<PlannedActivation, { readonly where: 'read' }>): Rounding {
  const { min, max } = codeRange(dtype)
  const [low, high] = codes ?? [min, max]
  return { scale, zeroPoint, min: low, max: high }
}

/** The plan in the host's words: points where the file has tensors, sites that no ONNX type holds, and what a runtime makes of it. */
function shownPlan(plan: OnnxPlan, points: ReadonlyMap<string, string>, unsaid: readonly SiteState[], format: string): Plan {
  const floats = new Map(unsaid.map(({ at, q }) => [at.id, `ONNX has no type for ${q?.tensor.scheme.dtype ?? 'its'} codes: their values are stored in float32`]))
  const activations = new Map<string, PlannedActivation>()
  for (const activation of plan.activations) {
    const id = points.get(activation.id) ?? activation.id
    const known = activations.get(id)
    if (known?.where === 'read' && activation.where === 'read') activations.set(id, { ...known, readers: [...known.readers, ...activation.readers] })
    else activations.set(id, { ...activation, id })
  }
  const nibbles = plan.weights.some((w) => plan.sites.some((s) => s.weight === w.name && s.operator === 'MatMul') && w.parts.every((p) => p.kind === 'grid' && bitsOf(p.scheme.dtype) <= 4))
  return {
    ...plan,
    sites: plan.sites.map((s) => (floats.has(s.site) ? { ...s, reason: floats.get(s.site) ?? '' } : s)),
    activations: [...activations.values()],
    notes: [
      ...plan.notes,
      ...[...floats].map(([id, reason]) => `${id}: ${reason}`),
      ...(format === 'dequantize' && nibbles ? ["ONNX Runtime computes Dense layers with int4 weights with activations rounded to int8 unless the session option 'session.qdq_matmulnbits_accuracy_level' is 1"] : []),
    ],
  }
}

/** Values of a planned weight for the sites of the host that have it; those that were decided, where the file holds these very codes. */
function valuesOf(weight: PlannedWeight, sites: readonly SiteState[]): readonly (readonly [string, Float32Array])[] {
  const found = sites.filter(({ at }) => weight.sites.includes(at.id))
  const [part] = weight.parts
  const isAsDecided = (q: SiteState['q']): boolean => q !== undefined && part?.kind === 'grid' && part.codes.data === q.tensor.codes && part.scales.data === q.tensor.params.scales
  return found.map((site) => [site.at.id, isAsDecided(site.q) && site.q !== undefined ? site.q.values : partsValue(weight.parts, weight.shape)] as const)
}
