import type { BatchSource, ObserveOptions, StatisticRequest, Statistics } from '@lowbit/core'
import { observeGraph, type ObserveContext } from '../calibrate/index.js'

/** Statistics of a model's activations: computed inside the runtime, a few requests at a time within `maxMemory`. */
export function observe(context: ObserveContext, requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions): Promise<Statistics> {
  return observeGraph(context, requests, data, options)
}
