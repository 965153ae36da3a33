import type { FakeQuantState, FakeQuantVariable, Ops } from '@lowbit/core'
import { LowbitError } from '@lowbit/core'

/** Variables of a running range: lowest and highest value, and how many batches were seen. */
export function rangeVariables(): readonly FakeQuantVariable[] {
  return ['low', 'high', 'seen'].map((name) => ({ name, shape: [], initial: new Float32Array(1), trainable: false }))
}

/**
 * Moves the running range towards a batch's by `momentum`; the first batch sets it. Gives the range to quantize with.
 * In a pass that is not training nothing moves.
 */
export function observeRange<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>, momentum: number): { readonly low: T; readonly high: T } {
  if (state.training) {
    const seen = state.read('seen')
    const share = ops.where(ops.greaterEqual(seen, ops.constant(0.5)), ops.constant(momentum), ops.constant(1))
    const values = ops.stopGradient(x)
    const move = (name: string, batch: T): void => state.write(name, ops.add(state.read(name), ops.mul(share, ops.sub(batch, state.read(name)))))
    move('low', ops.min(values))
    move('high', ops.max(values))
    state.write('seen', ops.add(seen, ops.constant(1)))
  }
  return { low: ops.stopGradient(state.read('low')), high: ops.stopGradient(state.read('high')) }
}

/** `y` once something was observed; before that the unrounded `x`, so that a fresh model can be evaluated. */
export function onceSeen<T>(ops: Ops<T>, state: FakeQuantState<T>, y: T, x: T): T {
  return state.training ? y : ops.where(ops.greaterEqual(state.read('seen'), ops.constant(0.5)), y, x)
}

/** @throws LOWBIT_CALIBRATION before any observation. */
export function requireSeen(read: (name: string) => Float32Array): void {
  if (read('seen')[0] > 0) return
  throw new LowbitError('LOWBIT_CALIBRATION', {
    thing: 'activation',
    found: 'no batch has been observed',
    expected: 'at least one training step',
    fix: 'train the prepared model, or run calibration batches through it in training mode, before converting it',
  })
}
