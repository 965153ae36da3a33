/** A value that goes from one number to another over training, along half a cosine. */
export interface Anneal {
  readonly from: number
  readonly to: number
  readonly steps: number
}

export function annealed({ from, to, steps }: Anneal, step: number): number {
  const done = steps > 0 ? Math.min(step / steps, 1) : 1
  return to + ((from - to) * (1 + Math.cos(Math.PI * done))) / 2
}
