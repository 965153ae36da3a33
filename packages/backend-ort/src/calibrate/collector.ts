import type { HostTensor, StatisticName, StatisticValues } from '@lowbit/core'

/** Gathers one statistic: what it needs computed in each run, and what it keeps between runs. */
export interface Collector<S extends StatisticName = StatisticName> {
  /** Tensors of the calibration graph that must come out of the runtime. */
  readonly outputs: readonly string[]
  /** Bytes kept between runs. */
  readonly kept: number
  /** @throws LOWBIT_NONFINITE naming the tensor and the sample */
  add(values: Readonly<Record<string, HostTensor>>, sample: number): void
  result(): StatisticValues[S]
}

/** A float32 array out of a run. */
export function floatsOf(values: Readonly<Record<string, HostTensor>>, name: string): HostTensor<'float32'>['data'] {
  const data = values[name]?.data
  return data instanceof Float32Array ? data : new Float32Array()
}

/** A whole number out of a run: the result of a Size node. */
export function countOf(values: Readonly<Record<string, HostTensor>>, name: string): number {
  return Number(values[name]?.data[0] ?? 0)
}
