import { codeRange, partOf, PLAN_VERSION, type ActivationParams, type Plan, type PlannedActivation } from '@lowbit/core'
import type { SiteState, StaticRule } from '../site-state.js'

/** The plan of a model that is not to be written: what was decided, as values. */
export function neutralPlan(sites: readonly SiteState[], activations: ReadonlyMap<string, StaticRule>): Plan {
  return {
    plan: PLAN_VERSION,
    format: 'none',
    settings: {},
    sites: sites.map(({ at, q }) => (q === undefined ? { site: at.id, status: 'float', operator: at.op, input: 'float', reason: 'nothing was decided for it' } : { site: at.id, status: 'quantized', operator: at.op, weight: at.variable.originalName, input: 'float' })),
    weights: sites.flatMap(({ at, q }) => (q === undefined ? [] : [{ name: at.variable.originalName, sites: [at.id], shape: [at.rows, at.columns], form: 'values', parts: [partOf(q.tensor)], tensors: [] } as const])),
    biases: [],
    activations: [...activations].map(([id, rule]): PlannedActivation => ({ id, where: 'read', ...roundedTo(rule), readers: sites.filter((s) => s.input === id).map((s) => s.at.id) })),
    notes: [],
  }
}

/** A rule as parameters of the smallest type that ONNX has for its codes, and which of these it uses. */
export function roundedTo({ dtype, scale, zeroPoint }: StaticRule): { readonly params: ActivationParams; readonly codes?: readonly [number, number] } {
  const { min, max } = codeRange(dtype)
  const isWide = max > 255 || min < -128
  const type = isWide ? (min < 0 ? 'int16' : 'uint16') : min < 0 ? 'int8' : 'uint8'
  return { params: { dtype: type, scale, zeroPoint }, ...(max - min === (isWide ? 65535 : 255) ? {} : { codes: [min, max] as const }) }
}
