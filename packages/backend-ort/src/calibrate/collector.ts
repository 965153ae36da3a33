import { fromBfloat16, fromFloat16, type HostTensor, own, type StatisticName, type StatisticValues } from '@lowbit/core'

/** Gathers one statistic: what it needs computed in each run, and what it keeps between runs. */
export interface Collector<S extends StatisticName = StatisticName> {
  /** Tensors of the calibration graph that must come out of the runtime. */
  readonly outputs: readonly string[]
  /** @throws LOWBIT_NONFINITE naming the tensor and the sample */
  add(values: Readonly<Record<string, HostTensor>>, sample: number): void | Promise<void>
  result(): StatisticValues[S]
}

/** Values out of a run, or out of the batch itself, as float32. Every type is converted: nothing must pass for a tensor without values. */
export function floatsOf(values: Readonly<Record<string, HostTensor>>, name: string): HostTensor<'float32'>['data'] {
  const value = own(values, name)
  if (value === undefined) return new Float32Array()
  const { dtype, data } = value
  if (data instanceof Float32Array) return data
  if (dtype === 'float16' && data instanceof Uint16Array) return fromFloat16(data)
  if (dtype === 'bfloat16' && data instanceof Uint16Array) return fromBfloat16(data)
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number)
  return Float32Array.from(data)
}

/** A whole number out of a run: the result of a Size node. */
export function countOf(values: Readonly<Record<string, HostTensor>>, name: string): number {
  return Number(own(values, name)?.data[0] ?? 0)
}
