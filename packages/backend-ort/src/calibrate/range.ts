import type { RangeStatistic } from '@lowbit/core'
import type { CalibrationGraph } from './calibration-graph.js'
import { type Collector, countOf, floatsOf } from './collector.js'
import { checkFinite, extremesOf } from './extremes.js'

/** Smallest and largest value, per tensor or along an axis, by ReduceMin and ReduceMax in the runtime. */
export function rangeCollector(graph: CalibrationGraph, tensor: string, axis?: number): Collector<'range'> {
  return axis === undefined ? wholeRange(graph, tensor) : axisRange(graph, tensor, otherAxes(graph.rank(tensor), axis))
}

function wholeRange(graph: CalibrationGraph, tensor: string): Collector<'range'> {
  const { outputs, read } = extremesOf(graph, tensor)
  const min = new Float32Array(1)
  const max = new Float32Array(1)
  let count = 0
  return {
    outputs,
    add(values, sample) {
      const seen = read(values, sample)
      if (seen === undefined) return
      min[0] = count === 0 ? seen.min : Math.min(min[0] ?? 0, seen.min)
      max[0] = count === 0 ? seen.max : Math.max(max[0] ?? 0, seen.max)
      count += seen.count
    },
    // Never computed: no limits.
    result: (): RangeStatistic => (count === 0 ? { min: new Float32Array(), max: new Float32Array(), count } : { min, max, count }),
  }
}

function axisRange(graph: CalibrationGraph, tensor: string, axes: readonly number[]): Collector<'range'> {
  const x = graph.floats(tensor)
  const low = graph.reduce('ReduceMin', x, axes)
  const high = graph.reduce('ReduceMax', x, axes)
  // A minimum may pass over NaN; a sum cannot.
  const sum = graph.reduce('ReduceSum', x)
  const size = graph.apply('Size', [tensor])
  let min = new Float32Array()
  let max = new Float32Array()
  let count = 0
  return {
    outputs: [low, high, sum, size],
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
