import type { Scheme } from '@lowbit/core'

/** Columns of one row that share a scale; all of them for one scale a row or tensor. */
export function groupSizeOf(scheme: Scheme, columns: number): number {
  const g = scheme.granularity
  return g.kind === 'group' && g.axis === 1 ? Math.min(g.size, columns) : columns
}
