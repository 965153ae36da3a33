import type { RangeStatistic } from '@lowbit/core'
import type { CalibrationGraph } from './calibration-graph.js'
import { type Collector, countOf, floatsOf } from './collector.js'
import { nonFinite } from './non-finite.js'

/** Smallest and largest value, per tensor or along an axis, by ReduceMin and ReduceMax in the runtime. */
export function rangeCollector(graph: CalibrationGraph, tensor: string, axis?: number): Collector<'range'> {
  const axes = axis === undefined ? undefined : otherAxes(graph.rank(tensor), axis)
  const low = graph.reduce('ReduceMin', tensor, axes)
  const high = graph.reduce('ReduceMax', tensor, axes)
  // A minimum may pass over NaN; a sum cannot.
  const sum = graph.reduce('ReduceSum', tensor)
  const size = graph.apply('Size', [tensor])
  let min = new Float32Array()
  let max = new Float32Array()
  let count = 0
  return {
    outputs: [low, high, sum, size],
    kept: 1024,
    add(values, sample) {
      const lows = floatsOf(values, low)
      const highs = floatsOf(values, high)
      const n = countOf(values, size)
      if (n === 0) return
      checkFinite(floatsOf(values, sum), lows, highs, tensor, sample)
      if (count === 0) {
        min = lows.slice()
        max = highs.slice()
      } else {
        for (let i = 0; i < min.length; i++) {
          min[i] = Math.min(min[i] ?? 0, lows[i] ?? 0)
          max[i] = Math.max(max[i] ?? 0, highs[i] ?? 0)
        }
      }
      count += n
    },
    result: (): RangeStatistic => ({ min, max, count }),
  }
}

/** Axes of a tensor but one; negative axes count from the end. */
export function otherAxes(rank: number, axis: number): number[] {
  const kept = axis < 0 ? axis + rank : axis
  return Array.from({ length: rank }, (_, i) => i).filter((i) => i !== kept)
}

function checkFinite(sum: Float32Array, lows: Float32Array, highs: Float32Array, tensor: string, sample: number): void {
  const thing = `activation '${tensor}' in sample ${sample}`
  for (const limits of [lows, highs]) for (const v of limits) if (!Number.isFinite(v)) throw nonFinite(thing, v)
  const total = sum[0] ?? 0
  // A sum of large finite values may overflow: that is no fault of the data.
  const reach = Math.max(...lows.map(Math.abs), ...highs.map(Math.abs))
  if (!Number.isFinite(total) && reach < 1e28) throw nonFinite(thing, total)
}
