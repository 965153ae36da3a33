import { LowbitError } from '../errors.js'
import { paramShape } from '../qtensor.js'
import { describeScheme, type Scheme } from '../scheme.js'
import type { Slices } from '../slices/slices.js'

/** The granules of a `[N, K]` matrix: each is `length(i)` elements from `base(i)` on, `stride` apart. */
export interface Granules {
  readonly count: number
  /** Shape of the parameters. */
  readonly shape: readonly number[]
  readonly stride: number
  base(granule: number): number
  length(granule: number): number
}

/**
 * Where the granules of a weight matrix lie.
 * @throws LOWBIT_UNSUPPORTED for token granularity.
 */
export function matrixGranules(scheme: Scheme, rows: number, columns: number): Granules {
  const { granularity } = scheme
  const shape = paramShape(granularity, [rows, columns])
  switch (granularity.kind) {
    case 'tensor':
      return { count: 1, shape, stride: 1, base: () => 0, length: () => rows * columns }
    case 'channel':
      return granularity.axis === 0
        ? { count: rows, shape, stride: 1, base: (row) => row * columns, length: () => columns }
        : { count: columns, shape, stride: columns, base: (column) => column, length: () => rows }
    case 'group': {
      const { axis, size } = granularity
      const along = axis === 0 ? rows : columns
      const groups = Math.ceil(along / size)
      return axis === 0
        ? { count: groups * columns, shape, stride: columns, base: (i) => Math.floor(i / columns) * size * columns + (i % columns), length: (i) => Math.min(size, rows - Math.floor(i / columns) * size) }
        : { count: rows * groups, shape, stride: 1, base: (i) => Math.floor(i / groups) * columns + (i % groups) * size, length: (i) => Math.min(size, columns - (i % groups) * size) }
    }
    case 'token':
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights', found: describeScheme(scheme), expected: 'tensor, channel or group granularity' })
  }
}

/** Elements that are rounded between two cuts: a few milliseconds of work. */
export const ROUNDING_PIECE = 2 ** 18

/**
 * Walks all granules in order, some thousand elements at a time.
 * @param work - takes the granules from one index to before another
 * @param piece - elements between two cuts
 */
export function* overGranules(granules: Granules, work: (start: number, end: number) => void, piece = ROUNDING_PIECE): Slices<void> {
  for (let start = 0; start < granules.count; ) {
    let elements = 0
    let end = start
    while (end < granules.count && elements < piece) elements += granules.length(end++)
    work(start, end)
    start = end
    if (start < granules.count) yield
  }
}
