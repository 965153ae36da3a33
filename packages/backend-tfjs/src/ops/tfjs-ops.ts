import { rowIndices, type Ops } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import { fakeQuantKernel } from './fake-quant-kernel.js'
import { noTape } from './no-tape.js'

/**
 * Differentiable operations on TensorFlow.js tensors, for training algorithms.
 *
 * Works on the current backend of `tf` (cpu, wasm, webgl, webgpu, tensorflow). Call inside `tf.tidy` or a layer's `call`:
 * operations leave their results to the scope around them.
 *
 * Differences from the operations of tfjs: `abs` has gradient 0 at 0 (tfjs: -1); `minimum`, `maximum` and `where` broadcast in
 * both directions (tfjs: forward only); `max` and `min` share their gradient evenly among ties (tfjs: each tie gets all of it);
 * comparisons are float32 without gradient; `stopGradient` cuts the graph instead of sending zeros through it.
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
    sin: (x) => tf.sin(x),
    cos: (x) => tf.cos(x),
    minimum: (a, b) => pick(tf, a, b, tf.minimum, tf.lessEqual),
    maximum: (a, b) => pick(tf, a, b, tf.maximum, tf.greaterEqual),
    rint: (x) => noTape(tf, () => tf.round(x)),
    sign: (x) => noTape(tf, () => tf.sign(x)),
    greaterEqual: (a, b) => noTape(tf, () => tf.cast(tf.greaterEqual(a, b), 'float32')),
    where: (condition, a, b) => where(tf, condition, a, b),
    sum: (x, axes, keepDims) => tf.sum(x, axes && [...axes], keepDims),
    mean: (x, axes, keepDims) => tf.mean(x, axes && [...axes], keepDims),
    max: (x, axes, keepDims) => extreme(tf, x, tf.max, axes, keepDims),
    min: (x, axes, keepDims) => extreme(tf, x, tf.min, axes, keepDims),
    reshape: (x, shape) => tf.reshape(x, [...shape]),
    transpose: (x, permutation) => tf.transpose(x, permutation && [...permutation]),
    pad: (x, padding) => tf.pad(x, padding.map(([before, after]): [number, number] => [before, after])),
    slice: (x, begin, size) => tf.slice(x, [...begin], [...size]),
    matmul: (a, b, transposeA, transposeB) => tf.matMul(a, b, transposeA, transposeB),
    gather: (x, indices, shape) => gather(tf, x, indices, shape),
    concat: (parts, axis) => tf.concat([...parts], axis),
    softmax: (x) => softmax(tf, x),
    logSumExp: (x, keepDims) => logSumExp(tf, x, keepDims),
    range: (size) => tf.range(0, size, 1, 'float32'),
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
    fakeQuantKernel: (granularity, shape) => fakeQuantKernel(tf, granularity, shape),
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

/** Rows by index; the gradients of copies of a row are summed. */
function gather(tf: TfCore, x: Tensor, indices: ArrayLike<number>, shape: readonly number[] = [indices.length]): Tensor {
  const at = rowIndices(indices, shape, x.shape)
  const [rows, ...rest] = x.shape
  const size = rest.reduce((a, b) => a * b, 1)
  const f = tf.customGrad((input) => {
    const given = input as Tensor
    const taken = tf.gather(tf.reshape(given, [rows, size]), tf.tensor1d(at, 'int32'))
    return {
      value: tf.reshape(taken, [...shape, ...rest]),
      gradFunc: (dy: Tensor) => tf.reshape(sumRows(tf, tf.reshape(dy, [at.length, size]), at, rows), [...given.shape]),
    }
  })
  return f(x)
}

/** `[rows, size]`: the sum of the rows of each index. The wasm backend has no kernel for it as it comes: there, a product with ones where an index is. */
function sumRows(tf: TfCore, x: Tensor, indices: Int32Array, rows: number): Tensor {
  if (tf.getKernel('UnsortedSegmentSum', tf.getBackend()) !== undefined) return tf.unsortedSegmentSum(x, tf.tensor1d(indices, 'int32'), rows)
  const at = tf.reshape(tf.tensor1d(Float32Array.from(indices), 'float32'), [indices.length, 1])
  return tf.matMul(tf.cast(tf.equal(at, tf.range(0, rows, 1, 'float32')), 'float32'), x, true, false)
}

/** Both with gradients of their own: those of tfjs go through operations that not every backend has. */
function softmax(tf: TfCore, x: Tensor): Tensor {
  const f = tf.customGrad((input, save) => {
    const y = tf.softmax(input as Tensor)
    if (typeof save === 'function') save([y])
    return { value: tf.clone(y), gradFunc: (dy: Tensor, saved: Tensor[]) => tf.mul(saved[0], tf.sub(dy, tf.sum(tf.mul(dy, saved[0]), -1, true))) }
  })
  return f(x)
}

function logSumExp(tf: TfCore, x: Tensor, keepDims = false): Tensor {
  const f = tf.customGrad((input, save) => {
    const given = input as Tensor
    const { values, sums, largest } = shares(tf, given)
    if (typeof save === 'function') save([values])
    const kept = tf.add(largest, tf.log(sums))
    return {
      value: keepDims ? kept : tf.reshape(kept, given.shape.slice(0, -1)),
      gradFunc: (dy: Tensor, saved: Tensor[]) => tf.mul(tf.reshape(dy, [...given.shape.slice(0, -1), 1]), saved[0]),
    }
  })
  return f(x)
}

function shares(tf: TfCore, x: Tensor): { readonly values: Tensor; readonly sums: Tensor; readonly largest: Tensor } {
  const largest = tf.max(x, -1, true)
  const raised = tf.exp(tf.sub(x, largest))
  const sums = tf.sum(raised, -1, true)
  return { values: tf.div(raised, sums), sums, largest }
}

type Binary = (a: Tensor, b: Tensor) => Tensor

/** Larger or smaller of two; the gradient goes to the one taken, to `a` where they are equal. */
function pick(tf: TfCore, a: Tensor, b: Tensor, choose: Binary, takesFirst: Binary): Tensor {
  const f = tf.customGrad((first, second, save) => {
    const x = first as Tensor
    const y = second as Tensor
    if (typeof save === 'function') save([x, y])
    return {
      value: choose(x, y),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [p, q] = saved as [Tensor, Tensor]
        const taken = tf.mul(dy, tf.cast(takesFirst(p, q), 'float32'))
        return [sumTo(tf, taken, p.shape), sumTo(tf, tf.sub(dy, taken), q.shape)]
      },
    }
  })
  return f(a, b)
}

/** Largest or smallest along axes. */
function extreme(tf: TfCore, x: Tensor, reduce: (x: Tensor, axes?: number[], keepDims?: boolean) => Tensor, axes: readonly number[] | undefined, keepDims = false): Tensor {
  const list = axes && [...axes]
  const f = tf.customGrad((input, save) => {
    const given = input as Tensor
    const kept = reduce(given, list, true)
    if (typeof save === 'function') save([given, kept])
    return {
      value: keepDims ? tf.clone(kept) : tf.reshape(kept, reducedShape(given.shape, list)),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [values, best] = saved as [Tensor, Tensor]
        // The webgpu backend keeps what is cast from bool as integers, and its transpose (of a sum over other axes than the last) can
        // not read those: the product makes floats of them.
        const mask = tf.mul(tf.cast(tf.equal(values, best), 'float32'), 1)
        return tf.mul(mask, tf.div(tf.reshape(dy, best.shape), tf.sum(mask, list, true)))
      },
    }
  })
  return f(x)
}

function reducedShape(shape: readonly number[], axes: readonly number[] | undefined): number[] {
  if (axes === undefined) return []
  const gone = axes.map((a) => (a < 0 ? a + shape.length : a))
  return shape.filter((_, i) => !gone.includes(i))
}

/** Undoes broadcasting: sums a gradient down to the shape of what was broadcast. */
function sumTo(tf: TfCore, x: Tensor, shape: readonly number[]): Tensor {
  const padded = [...x.shape.slice(shape.length).map(() => 1), ...shape]
  const axes = padded.flatMap((s, i) => (s === 1 && x.shape[i] !== 1 ? [i] : []))
  return tf.reshape(axes.length === 0 ? x : tf.sum(x, axes, true), [...shape])
}

/** tfjs's `where` broadcasts forward but not back: all three are brought to one shape by operations that do both. */
function where(tf: TfCore, condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const zero = noTape(tf, () => tf.add(tf.add(tf.zerosLike(a), tf.zerosLike(b)), tf.zerosLike(tf.cast(condition, 'float32'))))
  const same = (x: Tensor): Tensor => (x.shape.length === zero.shape.length && x.shape.every((s, i) => s === zero.shape[i]) ? x : tf.add(x, zero))
  const mask = noTape(tf, () => tf.cast(same(tf.cast(condition, 'float32')), 'bool'))
  return tf.where(mask, same(a), same(b))
}
