import type { Ops, TrainingAlgorithm } from '@lowbit/core'
import { algorithm, unsupported } from './plugin.js'

/** `sign(w)` with `sign(±0) = +1`. */
export const signCodes = <T>(ops: Ops<T>, w: T): T => ops.sub(ops.mul(ops.constant(2), ops.greaterEqual(w, ops.constant(0))), ops.constant(1))

/** 1 where `|w| <= 1`, else 0: the hard-tanh estimator's gradient. */
export const hardTanhMask = <T>(ops: Ops<T>, w: T): T => ops.greaterEqual(ops.constant(1), ops.abs(w))

/** BinaryConnect (Courbariaux et al. 2015): `sign(w)`; the gradient passes where `|w| <= 1`. */
export function binaryConnectQuantize<T>(ops: Ops<T>, w: T): T {
  return ops.custom([w], ([v]) => ({ output: signCodes(ops, v), saved: [hardTanhMask(ops, v)] }), (dy, [inside]) => [ops.mul(dy, inside)])
}

/** Weights are kept in [-1, 1] after each update. */
export const clipToUnit = <T>(ops: Ops<T>, w: T): T => ops.minimum(ops.maximum(w, ops.constant(-1)), ops.constant(1))

/** Weights of ±1. Meant for training from scratch with BatchNorm after each layer; from a trained model take {@link xnor}. */
export function binaryConnect(): TrainingAlgorithm {
  return algorithm('binary-connect', {}, (spec) => {
    if (spec.role !== 'weight' || spec.scheme.dtype !== 'binary' || spec.scheme.granularity.kind !== 'tensor') throw unsupported('binaryConnect', spec, 'binary weights, granularity tensor')
    return {
      scheme: spec.scheme,
      variables: () => [],
      forward: (ops, x) => binaryConnectQuantize(ops, x),
      project: (ops, x) => clipToUnit(ops, x),
      quantize: (ops, x) => ({ codes: signCodes(ops, x), scales: ops.constant(1) }),
    }
  })
}
