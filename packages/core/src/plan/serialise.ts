import type { Json } from '../contract/v2/plugin.js'
import { Sha256 } from '../digest/sha256.js'
import type { PlanTensor } from './parts.js'
import type { Plan } from './plan.js'

/**
 * A plan as JSON: the same plan gives the same text. Tensors stand in it as `{ dtype, shape, sha256 }`, so that two plans can be
 * told apart, and looked at, without their weights.
 */
export function planToJson(plan: Plan): Json {
  return toJson(plan)
}

function toJson(value: unknown): Json {
  if (isTensor(value)) {
    const { dtype, shape, data } = value
    return { dtype, shape, sha256: new Sha256().update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).hex() }
  }
  if (Array.isArray(value)) return value.map(toJson)
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).flatMap(([key, member]): [string, Json][] => (member === undefined ? [] : [[key, toJson(member)]])))
  }
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null
}

function isTensor(value: unknown): value is PlanTensor {
  return typeof value === 'object' && value !== null && 'data' in value && ArrayBuffer.isView(value.data) && 'dtype' in value && 'shape' in value
}
