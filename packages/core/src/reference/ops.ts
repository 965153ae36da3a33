import type { Differentiator, Ops } from '../contract/v2/training.js'
import { LowbitError } from '../errors.js'
import { elementCount } from '../tensor.js'
import { broadcastShape, broadcastTo, concatShape, padArray, permute, reduceAxes, rowIndices, sliceArray, sumTo, unslice, type FloatArray } from './ops-shape.js'
import { roundHalfEven } from './round.js'

/** A value of the reference operations, and how it came to be. Plain data; nothing to dispose. */
export interface ReferenceTensor {
  readonly shape: readonly number[]
  readonly data: FloatArray
  /** What it was computed from, and how its gradient flows there; absent for leaves. */
  readonly origin?: { readonly parents: readonly ReferenceTensor[]; pull(dy: FloatArray): readonly (FloatArray | null)[] }
}

export interface ReferenceOpsOptions {
  /** What every result is stored as. `float64` is for central differences. Default `float32`. */
  readonly precision?: 'float32' | 'float64'
}

type Unary = { value(x: number): number; slope(x: number, y: number): number }

/**
 * The slow, obviously right operations: each result is computed in double precision by a plain loop and stored as float32.
 * Gradients by walking the recorded graph backwards.
 */
export function referenceOps(options: ReferenceOpsOptions = {}): Differentiator<ReferenceTensor> {
  const array = (size: number): FloatArray => (options.precision === 'float64' ? new Float64Array(size) : new Float32Array(size))
  const filled = (size: number, value: (i: number) => number): FloatArray => {
    const out = array(size)
    for (let i = 0; i < size; i++) out[i] = value(i)
    return out
  }

  const unary = (x: ReferenceTensor, { value, slope }: Unary): ReferenceTensor => {
    const data = filled(x.data.length, (i) => value(x.data[i]))
    return { shape: x.shape, data, origin: { parents: [x], pull: (dy) => [filled(dy.length, (i) => dy[i] * slope(x.data[i], data[i]))] } }
  }

  const binary = (a: ReferenceTensor, b: ReferenceTensor, value: (a: number, b: number) => number, da: (a: number, b: number) => number, db: (a: number, b: number) => number): ReferenceTensor => {
    const shape = broadcastShape(a.shape, b.shape)
    const left = broadcastTo(a.data, a.shape, shape)
    const right = broadcastTo(b.data, b.shape, shape)
    const data = filled(left.length, (i) => value(left[i], right[i]))
    const pull = (dy: FloatArray): FloatArray[] => [
      sumTo(filled(dy.length, (i) => dy[i] * da(left[i], right[i])), shape, a.shape),
      sumTo(filled(dy.length, (i) => dy[i] * db(left[i], right[i])), shape, b.shape),
    ]
    return { shape, data, origin: { parents: [a, b], pull } }
  }

  const detached = (x: ReferenceTensor): ReferenceTensor => ({ shape: x.shape, data: x.data })

  /** Largest or smallest along axes; the gradient is shared evenly by all that reach it. */
  const extreme = (x: ReferenceTensor, axes: readonly number[] | undefined, keepDims: boolean, pick: (a: number, b: number) => number): ReferenceTensor => {
    const r = reduceAxes(x.shape, axes)
    const full = filled(elementCount(r.kept), () => NaN)
    for (let i = 0; i < x.data.length; i++) {
      const o = r.target(i)
      full[o] = Number.isNaN(full[o]) ? x.data[i] : pick(full[o], x.data[i])
    }
    const pull = (dy: FloatArray): FloatArray[] => {
      const ties = array(full.length)
      for (let i = 0; i < x.data.length; i++) if (x.data[i] === full[r.target(i)]) ties[r.target(i)]++
      return [filled(x.data.length, (i) => (x.data[i] === full[r.target(i)] ? dy[r.target(i)] / ties[r.target(i)] : 0))]
    }
    return { shape: keepDims ? r.kept : r.dropped, data: full, origin: { parents: [x], pull } }
  }

  const total = (x: ReferenceTensor, axes: readonly number[] | undefined, keepDims: boolean, divide: boolean): ReferenceTensor => {
    const r = reduceAxes(x.shape, axes)
    const size = elementCount(r.kept)
    const sums = new Float64Array(size)
    for (let i = 0; i < x.data.length; i++) sums[r.target(i)] += x.data[i]
    const count = divide ? x.data.length / size : 1
    const pull = (dy: FloatArray): FloatArray[] => [filled(x.data.length, (i) => dy[r.target(i)] / count)]
    return { shape: keepDims ? r.kept : r.dropped, data: filled(size, (i) => sums[i] / count), origin: { parents: [x], pull } }
  }

  const product = (a: FloatArray, b: FloatArray, stacks: number, m: number, k: number, n: number, transposeA: boolean, transposeB: boolean): FloatArray =>
    filled(stacks * m * n, (index) => {
      const column = index % n
      const row = Math.floor(index / n) % m
      const stack = Math.floor(index / (m * n))
      let sum = 0
      for (let i = 0; i < k; i++) sum += a[stack * m * k + (transposeA ? i * m + row : row * k + i)] * b[stack * k * n + (transposeB ? column * k + i : i * n + column)]
      return sum
    })

  const ops: Ops<ReferenceTensor> = {
    constant(value, shape) {
      const dims = shape ?? (typeof value === 'number' ? [] : [value.length])
      const size = elementCount(dims, 'constant')
      if (typeof value !== 'number' && value.length !== size) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: 'constant', found: `${value.length} values for shape [${dims.join(', ')}]`, expected: `${size}` })
      }
      return { shape: dims, data: filled(size, (i) => (typeof value === 'number' ? value : value[i])) }
    },
    shape: (x) => x.shape,
    add: (a, b) => binary(a, b, (p, q) => p + q, () => 1, () => 1),
    sub: (a, b) => binary(a, b, (p, q) => p - q, () => 1, () => -1),
    mul: (a, b) => binary(a, b, (p, q) => p * q, (_, q) => q, (p) => p),
    div: (a, b) => binary(a, b, (p, q) => p / q, (_, q) => 1 / q, (p, q) => -p / (q * q)),
    neg: (x) => unary(x, { value: (v) => -v, slope: () => -1 }),
    abs: (x) => unary(x, { value: Math.abs, slope: (v) => Math.sign(v) }),
    sqrt: (x) => unary(x, { value: Math.sqrt, slope: (_, y) => 0.5 / y }),
    exp: (x) => unary(x, { value: Math.exp, slope: (_, y) => y }),
    log: (x) => unary(x, { value: Math.log, slope: (v) => 1 / v }),
    tanh: (x) => unary(x, { value: Math.tanh, slope: (_, y) => 1 - y * y }),
    sin: (x) => unary(x, { value: Math.sin, slope: (v) => Math.cos(v) }),
    cos: (x) => unary(x, { value: Math.cos, slope: (v) => -Math.sin(v) }),
    minimum: (a, b) => binary(a, b, Math.min, (p, q) => Number(p <= q), (p, q) => Number(p > q)),
    maximum: (a, b) => binary(a, b, Math.max, (p, q) => Number(p >= q), (p, q) => Number(p < q)),
    rint: (x) => unary(x, { value: roundHalfEven, slope: () => 0 }),
    sign: (x) => unary(x, { value: (v) => Math.sign(v), slope: () => 0 }),
    greaterEqual: (a, b) => binary(a, b, (p, q) => Number(p >= q), () => 0, () => 0),
    where(condition, a, b) {
      const shape = broadcastShape(condition.shape, broadcastShape(a.shape, b.shape))
      const test = broadcastTo(condition.data, condition.shape, shape)
      const left = broadcastTo(a.data, a.shape, shape)
      const right = broadcastTo(b.data, b.shape, shape)
      const pull = (dy: FloatArray): FloatArray[] => [
        sumTo(filled(dy.length, (i) => (test[i] !== 0 ? dy[i] : 0)), shape, a.shape),
        sumTo(filled(dy.length, (i) => (test[i] !== 0 ? 0 : dy[i])), shape, b.shape),
      ]
      return { shape, data: filled(test.length, (i) => (test[i] !== 0 ? left[i] : right[i])), origin: { parents: [a, b], pull } }
    },
    sum: (x, axes, keepDims = false) => total(x, axes, keepDims, false),
    mean: (x, axes, keepDims = false) => total(x, axes, keepDims, true),
    max: (x, axes, keepDims = false) => extreme(x, axes, keepDims, Math.max),
    min: (x, axes, keepDims = false) => extreme(x, axes, keepDims, Math.min),
    reshape(x, shape) {
      if (elementCount(shape, 'reshape') !== x.data.length) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: 'reshape', found: `[${x.shape.join(', ')}] to [${shape.join(', ')}]`, expected: 'the same number of elements' })
      }
      return { shape, data: x.data, origin: { parents: [x], pull: (dy) => [dy] } }
    },
    transpose(x, permutation = x.shape.map((_, axis) => x.shape.length - 1 - axis)) {
      const turned = permute(x.data, x.shape, permutation)
      const inverse = permutation.map((_, axis) => permutation.indexOf(axis))
      return { ...turned, origin: { parents: [x], pull: (dy) => [permute(dy, turned.shape, inverse).data] } }
    },
    pad(x, padding) {
      const padded = padArray(x.data, x.shape, padding)
      return { ...padded, origin: { parents: [x], pull: (dy) => [sliceArray(dy, padded.shape, padding.map(([before]) => before), x.shape)] } }
    },
    slice(x, begin, size) {
      return { shape: size, data: sliceArray(x.data, x.shape, begin, size), origin: { parents: [x], pull: (dy) => [unslice(dy, x.shape, begin, size)] } }
    },
    matmul(a, b, transposeA = false, transposeB = false) {
      const rank = a.shape.length
      const [rowsA, columnsA] = [a.shape[rank - 2], a.shape[rank - 1]]
      const [rowsB, columnsB] = [b.shape[b.shape.length - 2], b.shape[b.shape.length - 1]]
      const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA]
      const [kb, n] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB]
      const stack = a.shape.slice(0, -2)
      if (rank < 2 || k !== kb || stack.join() !== b.shape.slice(0, -2).join()) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: 'matmul', found: `[${a.shape.join(', ')}] and [${b.shape.join(', ')}]`, expected: 'matching inner sizes and equal stacks' })
      }
      const stacks = elementCount(stack)
      const pull = (dy: FloatArray): FloatArray[] => [
        transposeA ? product(b.data, dy, stacks, k, n, m, transposeB, true) : product(dy, b.data, stacks, m, n, k, false, !transposeB),
        transposeB ? product(dy, a.data, stacks, n, m, k, true, transposeA) : product(a.data, dy, stacks, k, m, n, !transposeA, false),
      ]
      return { shape: [...stack, m, n], data: product(a.data, b.data, stacks, m, k, n, transposeA, transposeB), origin: { parents: [a, b], pull } }
    },
    gather(x, indices, shape = [indices.length]) {
      const at = rowIndices(indices, shape, x.shape)
      const size = elementCount(x.shape.slice(1))
      const pull = (dy: FloatArray): FloatArray[] => {
        const dx = new Float64Array(x.data.length)
        for (let i = 0; i < dy.length; i++) dx[at[Math.floor(i / size)] * size + (i % size)] += dy[i]
        return [filled(dx.length, (i) => dx[i])]
      }
      return { shape: [...shape, ...x.shape.slice(1)], data: filled(at.length * size, (i) => x.data[at[Math.floor(i / size)] * size + (i % size)]), origin: { parents: [x], pull } }
    },
    concat(parts, axis) {
      const { shape, begins } = concatShape(parts.map((p) => p.shape), axis)
      const data = array(elementCount(shape))
      parts.forEach((part, i) => unslice(part.data, shape, begins[i], part.shape).forEach((v, e) => (data[e] += v)))
      return { shape, data, origin: { parents: parts, pull: (dy) => parts.map((part, i) => sliceArray(dy, shape, begins[i], part.shape)) } }
    },
    softmax(x) {
      const { width, largest, sums } = exponentials(x)
      const data = filled(x.data.length, (i) => Math.exp(x.data[i] - largest[Math.floor(i / width)]) / sums[Math.floor(i / width)])
      const pull = (dy: FloatArray): FloatArray[] => {
        const dots = new Float64Array(sums.length)
        for (let i = 0; i < dy.length; i++) dots[Math.floor(i / width)] += dy[i] * data[i]
        return [filled(dy.length, (i) => data[i] * (dy[i] - dots[Math.floor(i / width)]))]
      }
      return { shape: x.shape, data, origin: { parents: [x], pull } }
    },
    logSumExp(x, keepDims = false) {
      const { width, largest, sums } = exponentials(x)
      const pull = (dy: FloatArray): FloatArray[] => [filled(x.data.length, (i) => (dy[Math.floor(i / width)] * Math.exp(x.data[i] - largest[Math.floor(i / width)])) / sums[Math.floor(i / width)])]
      return { shape: keepDims ? [...x.shape.slice(0, -1), 1] : x.shape.slice(0, -1), data: filled(sums.length, (i) => largest[i] + Math.log(sums[i])), origin: { parents: [x], pull } }
    },
    range: (size) => ({ shape: [size], data: filled(size, (i) => i) }),
    stopGradient: detached,
    custom(inputs, forward, backward) {
      const { output, saved } = forward(inputs.map(detached))
      const pull = (dy: FloatArray): FloatArray[] => {
        const gradients = backward({ shape: output.shape, data: dy }, saved.map(detached))
        return inputs.map((input, i) => {
          const found = gradients[i]
          if (found === undefined || found.shape.join() !== input.shape.join()) {
            throw new LowbitError('LOWBIT_SHAPE', { thing: `gradient of input ${i} of a custom operation`, found: found === undefined ? 'none' : `shape [${found.shape.join(', ')}]`, expected: `shape [${input.shape.join(', ')}]` })
          }
          return found.data
        })
      }
      return { shape: output.shape, data: output.data, origin: { parents: inputs, pull } }
    },
  }

  return {
    ops,
    vjp(f, inputs, dy) {
      const leaves = inputs.map(detached)
      const y = f(leaves)
      if (dy.shape.join() !== y.shape.join()) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: 'gradient of the output', found: `shape [${dy.shape.join(', ')}]`, expected: `[${y.shape.join(', ')}]` })
      }
      const gradients = new Map<ReferenceTensor, FloatArray>([[y, dy.data]])
      for (const node of backwardOrder(y)) {
        const flowing = gradients.get(node)
        if (flowing === undefined || node.origin === undefined) continue
        const parts = node.origin.pull(flowing)
        node.origin.parents.forEach((parent, i) => {
          const part = parts[i]
          if (part === null) return
          const known = gradients.get(parent)
          gradients.set(parent, known === undefined ? part : filled(part.length, (e) => known[e] + part[e]))
        })
      }
      return {
        y: detached(y),
        gradients: leaves.map((leaf) => ({ shape: leaf.shape, data: gradients.get(leaf) ?? array(leaf.data.length) })),
      }
    },
    read: (x) => Promise.resolve(Float32Array.from(x.data)),
  }
}

/** Of each row along the last axis: the largest value, and the sum of exponentials relative to it. */
function exponentials({ shape, data }: ReferenceTensor): { readonly width: number; readonly largest: Float64Array; readonly sums: Float64Array } {
  const width = shape[shape.length - 1] ?? 1
  const rows = data.length / width
  const largest = new Float64Array(rows).fill(-Infinity)
  const sums = new Float64Array(rows)
  for (let i = 0; i < data.length; i++) largest[Math.floor(i / width)] = Math.max(largest[Math.floor(i / width)], data[i])
  for (let i = 0; i < data.length; i++) sums[Math.floor(i / width)] += Math.exp(data[i] - largest[Math.floor(i / width)])
  return { width, largest, sums }
}

/** Every node before the nodes it was computed from; an explicit stack, so that long chains do not exhaust the engine's. */
function backwardOrder(root: ReferenceTensor): ReferenceTensor[] {
  const order: ReferenceTensor[] = []
  const seen = new Set<ReferenceTensor>()
  const stack: { node: ReferenceTensor; next: number }[] = [{ node: root, next: 0 }]
  seen.add(root)
  while (stack.length > 0) {
    const top = stack[stack.length - 1]
    const parent = top.node.origin?.parents[top.next]
    top.next++
    if (parent === undefined) {
      order.push(top.node)
      stack.pop()
    } else if (!seen.has(parent)) {
      seen.add(parent)
      stack.push({ node: parent, next: 0 })
    }
  }
  return order.reverse()
}

/** Reads a reference tensor at once, without the promise that other backends need. */
export function referenceValues(x: ReferenceTensor): Float32Array {
  return Float32Array.from(x.data)
}

