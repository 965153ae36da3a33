import type { Ops } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import { noTape } from './no-tape.js'

/**
 * Differentiable operations on TensorFlow.js tensors, for training algorithms.
 *
 * Works on the current backend of `tf` (cpu, wasm, webgl, webgpu, tensorflow). Call inside `tf.tidy` or a layer's `call`:
 * operations leave their results to the scope around them.
 *
 * Differences from the operations of tfjs: `abs` has gradient 0 at 0 (tfjs: -1), comparisons are float32 and carry no gradient,
 * `stopGradient` cuts the graph instead of sending zeros through it.
 */
export function tfjsOps(tf: TfCore): Ops<Tensor> {
  const stopGradient = (x: Tensor): Tensor => noTape(tf, () => tf.clone(x))
  return {
    constant: (value, shape) =>
      typeof value === 'number' ? (shape === undefined ? tf.scalar(value) : tf.fill([...shape], value)) : tf.tensor(value, [...(shape ?? [value.length])], 'float32'),
    shape: (x) => x.shape,
    add: (a, b) => tf.add(a, b),
    sub: (a, b) => tf.sub(a, b),
    mul: (a, b) => tf.mul(a, b),
    div: (a, b) => tf.div(a, b),
    neg: (x) => tf.neg(x),
    abs: (x) => abs(tf, x),
    sqrt: (x) => tf.sqrt(x),
    exp: (x) => tf.exp(x),
    log: (x) => tf.log(x),
    tanh: (x) => tf.tanh(x),
    minimum: (a, b) => tf.minimum(a, b),
    maximum: (a, b) => tf.maximum(a, b),
    rint: (x) => noTape(tf, () => tf.round(x)),
    sign: (x) => noTape(tf, () => tf.sign(x)),
    greaterEqual: (a, b) => noTape(tf, () => tf.cast(tf.greaterEqual(a, b), 'float32')),
    where: (condition, a, b) => where(tf, condition, a, b),
    sum: (x, axes, keepDims) => tf.sum(x, axes && [...axes], keepDims),
    mean: (x, axes, keepDims) => tf.mean(x, axes && [...axes], keepDims),
    max: (x, axes, keepDims) => tf.max(x, axes && [...axes], keepDims),
    min: (x, axes, keepDims) => tf.min(x, axes && [...axes], keepDims),
    reshape: (x, shape) => tf.reshape(x, [...shape]),
    transpose: (x, permutation) => tf.transpose(x, permutation && [...permutation]),
    pad: (x, padding) => tf.pad(x, padding.map(([before, after]): [number, number] => [before, after])),
    slice: (x, begin, size) => tf.slice(x, [...begin], [...size]),
    matmul: (a, b, transposeA, transposeB) => tf.matMul(a, b, transposeA, transposeB),
    stopGradient,
    custom: (inputs, forward, backward) => {
      const f = tf.customGrad((...args) => {
        // The last argument keeps tensors for the backward pass; the others are the inputs.
        const save = args[args.length - 1]
        const given = args.slice(0, -1).filter((a): a is Tensor => typeof a !== 'function')
        const { output, saved } = forward(given)
        if (typeof save === 'function') save([...saved])
        return {
          value: given.includes(output) ? tf.clone(output) : output,
          gradFunc: (dy: Tensor, kept: Tensor[]) => [...backward(dy, kept)],
        }
      })
      return f(...inputs)
    },
  }
}

function abs(tf: TfCore, x: Tensor): Tensor {
  const f = tf.customGrad((input, save) => {
    const given = input as Tensor
    if (typeof save === 'function') save([given])
    return { value: tf.abs(given), gradFunc: (dy: Tensor, saved: Tensor[]) => tf.mul(dy, tf.sign(saved[0] as Tensor)) }
  })
  return f(x)
}

/** tfjs's `where` broadcasts forward but not back: all three are brought to one shape by operations that do both. */
function where(tf: TfCore, condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const zero = noTape(tf, () => {
    const sum = tf.add(tf.add(tf.zerosLike(a), tf.zerosLike(b)), tf.zerosLike(tf.cast(condition, 'float32')))
    return sum
  })
  const same = (x: Tensor): Tensor => (x.shape.length === zero.shape.length && x.shape.every((s, i) => s === zero.shape[i]) ? x : tf.add(x, zero))
  const mask = noTape(tf, () => tf.cast(same(tf.cast(condition, 'float32')), 'bool'))
  return tf.where(mask, same(a), same(b))
}
