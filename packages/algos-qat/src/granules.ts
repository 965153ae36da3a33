import type { Granularity, Ops } from '@lowbit/core'
import { LowbitError } from '@lowbit/core'

/** One tensor seen granule by granule, so that an estimator is written once for all granularities. */
export interface Granules<T> {
  /** Axes of the view along which a granule's elements lie. */
  readonly axes: readonly number[]
  /** x with each granule along `axes`; a short last group is filled up with zeros. */
  view(x: T): T
  /** Back to x's shape, dropping what was filled up. */
  unview(v: T): T
  /** From one value a granule, reduced over `axes` with kept dims, to the granule grid (`paramShape`). */
  grid(kept: T): T
  /** From the grid to what broadcasts against the view. */
  spread(grid: T): T
  /** Elements that share a scale, broadcastable against the grid; the short last group counts its own. */
  counts(): T
}

/** @throws LOWBIT_SHAPE if the axis is not there. */
export function granules<T>(ops: Ops<T>, granularity: Granularity, shape: readonly number[]): Granules<T> {
  const same = (t: T): T => t
  const all = shape.map((_, axis) => axis)
  const total = shape.reduce((a, b) => a * b, 1)
  if (granularity.kind === 'tensor') {
    return { axes: all, view: same, unview: same, grid: (t) => ops.reshape(t, []), spread: same, counts: () => ops.constant(total) }
  }
  if (granularity.kind === 'token') {
    const last = shape.length - 1
    return { axes: [last], view: same, unview: same, grid: same, spread: same, counts: () => ops.constant(shape[last]) }
  }
  const { axis } = granularity
  const size = shape[axis]
  if (size === undefined) throw new LowbitError('LOWBIT_SHAPE', { thing: `granularity ${granularity.kind}`, found: `axis ${axis} of shape [${shape.join(', ')}]`, expected: `an axis below ${shape.length}` })
  if (granularity.kind === 'channel') {
    const along = shape.map((s, a) => (a === axis ? s : 1))
    return { axes: all.filter((a) => a !== axis), view: same, unview: same, grid: (t) => ops.reshape(t, [size]), spread: (t) => ops.reshape(t, along), counts: () => ops.constant(total / size) }
  }
  const group = granularity.size
  const groups = Math.ceil(size / group)
  const missing = groups * group - size
  const split = (length: number): number[] => [...shape.slice(0, axis), groups, length, ...shape.slice(axis + 1)]
  const whole = shape.map((s, a) => (a === axis ? groups * group : s))
  return {
    axes: [axis + 1],
    view: (x) => ops.reshape(missing === 0 ? x : ops.pad(x, shape.map((_, a): [number, number] => [0, a === axis ? missing : 0])), split(group)),
    unview: (v) => (missing === 0 ? ops.reshape(v, shape) : ops.slice(ops.reshape(v, whole), shape.map(() => 0), shape)),
    grid: (t) => ops.reshape(t, shape.map((s, a) => (a === axis ? groups : s))),
    spread: (t) => ops.reshape(t, split(1)),
    counts: () =>
      missing === 0
        ? ops.constant(group)
        : ops.constant(Float32Array.from({ length: groups }, (_, i) => (i === groups - 1 ? group - missing : group)), shape.map((_, a) => (a === axis ? groups : 1))),
  }
}
