import type { DeclarationsOf } from '@lowbit/core'

/** A value that goes from one number to another over training, along half a cosine. */
export interface Anneal {
  readonly from: number
  readonly to: number
  readonly steps: number
}

export const ANNEAL_OPTIONS = {
  from: { type: 'number', required: true, about: 'value at the start' },
  to: { type: 'number', required: true, about: 'value at the end' },
  steps: { type: 'number', minimum: 0, required: true, about: 'training steps between the two' },
} as const satisfies DeclarationsOf<Anneal>

export function annealed({ from, to, steps }: Anneal, step: number): number {
  const done = steps > 0 ? Math.min(step / steps, 1) : 1
  return to + ((from - to) * (1 + Math.cos(Math.PI * done))) / 2
}
