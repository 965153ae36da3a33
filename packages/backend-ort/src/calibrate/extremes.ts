import type { HostTensor } from '@lowbit/core'
import type { CalibrationGraph } from './calibration-graph.js'
import { countOf, floatsOf } from './collector.js'
import { nonFinite } from './non-finite.js'

/** Smallest and largest value of a whole tensor and the number of values, found by the runtime. */
export interface Extremes {
  readonly outputs: readonly string[]
  /** The tensor that holds the number of values. */
  readonly size: string
  /**
   * Undefined for an empty tensor.
   * @throws LOWBIT_NONFINITE naming the tensor and the sample
   */
  read(values: Readonly<Record<string, HostTensor>>, sample: number): { readonly min: number; readonly max: number; readonly count: number } | undefined
}

/** Adds the operators that find the extremes of a tensor. */
export function extremesOf(graph: CalibrationGraph, tensor: string): Extremes {
  const x = graph.floats(tensor)
  const low = graph.reduce('ReduceMin', x)
  const high = graph.reduce('ReduceMax', x)
  // A minimum may pass over NaN; a sum cannot.
  const sum = graph.reduce('ReduceSum', x)
  const size = graph.apply('Size', [tensor])
  return {
    outputs: [low, high, sum, size],
    size,
    read(values, sample) {
      const count = countOf(values, size)
      if (count === 0) return undefined
      const lows = floatsOf(values, low)
      const highs = floatsOf(values, high)
      checkFinite(floatsOf(values, sum), lows, highs, tensor, sample)
      return { min: lows[0] ?? 0, max: highs[0] ?? 0, count }
    },
  }
}

/**
 * Holds limits, along an axis or of the whole, to what finite values give.
 * @throws LOWBIT_NONFINITE
 */
export function checkFinite(sums: Float32Array, lows: Float32Array, highs: Float32Array, tensor: string, sample: number): void {
  const thing = `activation '${tensor}' in sample ${sample}`
  let reach = 0
  for (const limits of [lows, highs]) {
    for (const v of limits) {
      if (!Number.isFinite(v)) throw nonFinite(thing, v)
      reach = Math.max(reach, Math.abs(v))
    }
  }
  // A sum of large finite values may overflow: that is no fault of the data.
  if (reach < 1e28) for (const sum of sums) if (!Number.isFinite(sum)) throw nonFinite(thing, sum)
}
