import type { FakeQuantState, FakeQuantVariable, Granularity, Ops } from '@lowbit/core'

/**
 * A learned value that cannot become zero or negative: the optimizer moves its logarithm.
 * A step of size η changes it by the factor e^±η, whatever its magnitude: at a learning rate of 1e-2 by one per cent.
 * (Learned as they are, scales of 1e-3 turn negative within a few Adam steps of 2e-3.)
 */
export function positiveVariable(name: string, shape: readonly number[], initial: ArrayLike<number>): FakeQuantVariable {
  return { name: logName(name), shape, initial: Float32Array.from(initial, (v) => Math.log(Math.max(v, LEAST))), trainable: true }
}

/** Smallest first value: its logarithm and its square stay in float32's range. */
const LEAST = 1e-18

const logName = (name: string): string => `log_${name}`

export function readPositive<T>(ops: Ops<T>, state: FakeQuantState<T>, name: string): T {
  return ops.exp(state.read(logName(name)))
}

export function writePositive<T>(ops: Ops<T>, state: FakeQuantState<T>, name: string, value: T): void {
  state.write(logName(name), ops.log(ops.maximum(ops.stopGradient(value), ops.constant(LEAST))))
}

/** A positive variable from the values an optimizer left. */
export function positiveValues(read: (name: string) => Float32Array, name: string): Float32Array {
  return read(logName(name)).map(Math.exp)
}

/** A weight's positive variable when its output channels are multiplied by `factors`. One scale a tensor cannot follow, and stays. */
export function rescaledPositive(read: (name: string) => Float32Array, name: string, granularity: Granularity, factors: Float32Array): Readonly<Record<string, Float32Array>> {
  if (granularity.kind !== 'channel' && granularity.kind !== 'group') return {}
  const logs = read(logName(name))
  const groups = logs.length / factors.length
  // Groups lie along the other axis: of `[N, K]` a channel's are neighbours, of `[K, N]` they are N apart.
  const channel = (i: number): number => (granularity.kind === 'group' && granularity.axis === 1 ? Math.floor(i / groups) : i % factors.length)
  return { [logName(name)]: logs.map((v, i) => v + Math.log(factors[channel(i)])) }
}
