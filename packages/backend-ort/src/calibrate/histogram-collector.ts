import { HistogramObserver, isLowbitError, LowbitError } from '@lowbit/core'
import type { CalibrationGraph } from './calibration-graph.js'
import { type Collector, floatsOf } from './collector.js'
import { extremesOf } from './extremes.js'

/** Fewer values than this say little of a tensor. */
const LEAST_SAMPLE = 16

/** A histogram of a whole tensor, which leaves the runtime for it. */
export function histogramCollector(graph: CalibrationGraph, tensor: string, bins?: number): Collector<'histogram'> {
  const histogram = observerOf(tensor, bins)
  const x = graph.floats(tensor)
  return {
    outputs: [x],
    add(values, sample) {
      const data = floatsOf(values, x)
      inSample(sample, () => histogram.observe({ dtype: 'float32', shape: [data.length], data }))
    },
    result: () => histogram.result(),
  }
}

/**
 * A histogram of some values of a tensor, at most `wanted` in each batch, one every so many; the runtime picks them, and finds
 * the limits of all. Which ones are picked changes from batch to batch and is the same in every run.
 */
export function sampledHistogramCollector(graph: CalibrationGraph, tensor: string, wanted: number, bins?: number): Collector<'histogram'> {
  const histogram = observerOf(tensor, bins)
  const extremes = extremesOf(graph, tensor)
  const picked = pick(graph, tensor, extremes.size, Math.max(wanted, LEAST_SAMPLE))
  return {
    outputs: [...extremes.outputs, picked],
    add(values, sample) {
      const whole = extremes.read(values, sample)
      if (whole !== undefined) inSample(sample, () => histogram.observeSample(floatsOf(values, picked), whole))
    },
    result: () => histogram.result(),
  }
}

/** True if the operators that pick values are there: Slice with steps and Mod. */
export function canSample(opset: number): boolean {
  return opset >= 10
}

function pick(graph: CalibrationGraph, tensor: string, size: string, wanted: number): string {
  // The smallest odd step that leaves few enough: even ones would meet the same columns of even rows again and again.
  const pairs = graph.apply('Div', [graph.apply('Add', [size, graph.ints(wanted - 1)]), graph.ints(2 * wanted)])
  const step = graph.apply('Add', [graph.apply('Mul', [pairs, graph.ints(2)]), graph.ints(1)])
  const start = graph.apply('Mod', [graph.turn(), step])
  const flat = graph.apply('Reshape', [graph.floats(tensor), graph.ints(-1)])
  return graph.apply('Slice', [flat, start, graph.ints(Number.MAX_SAFE_INTEGER), graph.ints(0), step])
}

function observerOf(tensor: string, bins: number | undefined): HistogramObserver {
  return new HistogramObserver({ thing: `activation '${tensor}'`, ...(bins === undefined ? {} : { bins }) })
}

function inSample(sample: number, observe: () => void): void {
  try {
    observe()
  } catch (error) {
    if (!isLowbitError(error, 'LOWBIT_NONFINITE')) throw error
    throw new LowbitError(error.code, { ...error.parts, thing: `${error.parts.thing} in sample ${sample}`, cause: error })
  }
}
