import type { DecisionSet } from '../contract/v2/capabilities.js'
import type { ActivationParams, ActivationPoint } from '../contract/v2/host.js'
import type { Decisions } from '../pipeline/decisions.js'
import type { QTensor } from '../qtensor.js'

/** What can be put back in float by one switch. */
export interface Switch {
  readonly kind: 'activations' | 'weight'
  /** Tensors that share a scale; of a weight, the site that owns it. */
  readonly points: readonly string[]
}

/**
 * One switch for all activations that share a scale, and one for each weight.
 * @param wide - activations that may be given more bits; a group with others is left alone
 */
export function switchesOf(points: readonly ActivationPoint[], decisions: Decisions, wide: ReadonlyMap<string, ActivationParams>, weights: readonly string[]): readonly Switch[] {
  const groups = new Map<string, string[]>()
  for (const { id, group } of points) {
    if (decisions.activations.has(id)) groups.set(group, [...(groups.get(group) ?? []), id])
  }
  const activations = [...groups.values()].filter((ids) => ids.every((id) => wide.has(id)))
  return [...activations.map((points) => ({ kind: 'activations', points }) as const), ...weights.filter((site) => decisions.weights.has(site)).map((site) => ({ kind: 'weight', points: [site] }) as const)]
}

/** Decisions with these switches in float. */
export function inFloat(switches: Iterable<Switch>, others: DecisionSet = {}): DecisionSet {
  const weights = new Map<string, QTensor | null>(others.weights)
  const activations = new Map<string, ActivationParams | null>(others.activations)
  for (const { kind, points } of switches) for (const point of points) (kind === 'weight' ? weights : activations).set(point, null)
  return { weights, activations }
}

/** Decisions with nothing rounded at all. */
export function allFloat({ weights, activations }: Decisions): DecisionSet {
  return { weights: new Map([...weights.keys()].map((owner) => [owner, null])), activations: new Map([...activations.keys()].map((point) => [point, null])) }
}
