import type { Differentiator, Ops } from '../contract/v2/training.js'
import { isLowbitError } from '../errors.js'
import { referenceOps, type ReferenceTensor } from '../reference/ops.js'
import { check, type TestRunner } from './runner.js'

interface OpCase {
  readonly name: string
  readonly shapes: readonly (readonly number[])[]
  /** Inputs lie in this range; away from kinks and poles, so that central differences mean something. */
  readonly from?: number
  readonly to?: number
  run<T>(ops: Ops<T>, inputs: readonly T[]): T
  /** The gradient is zero by definition. */
  readonly flat?: boolean
}

const V = [3, 4] as const

/** Each row of {@link Ops}, with the broadcasts, axes and transpositions that an implementation could get wrong. */
const CASES: readonly OpCase[] = [
  { name: 'add, same shape', shapes: [V, V], run: (ops, [a, b]) => ops.add(a, b) },
  { name: 'add, a row to each row', shapes: [V, [4]], run: (ops, [a, b]) => ops.add(a, b) },
  { name: 'add, a column and a row', shapes: [[3, 1], [1, 4]], run: (ops, [a, b]) => ops.add(a, b) },
  { name: 'sub, scalar first', shapes: [[], V], run: (ops, [a, b]) => ops.sub(a, b) },
  { name: 'mul, middle axis of size 1', shapes: [[2, 3, 4], [2, 1, 4]], run: (ops, [a, b]) => ops.mul(a, b) },
  { name: 'div, broadcast divisor', shapes: [V, [3, 1]], from: 0.5, to: 2, run: (ops, [a, b]) => ops.div(a, b) },
  { name: 'neg', shapes: [V], run: (ops, [x]) => ops.neg(x) },
  { name: 'abs', shapes: [V], run: (ops, [x]) => ops.abs(x) },
  { name: 'sqrt', shapes: [V], from: 0.3, to: 3, run: (ops, [x]) => ops.sqrt(x) },
  { name: 'exp', shapes: [V], run: (ops, [x]) => ops.exp(x) },
  { name: 'log', shapes: [V], from: 0.3, to: 3, run: (ops, [x]) => ops.log(x) },
  { name: 'tanh', shapes: [V], run: (ops, [x]) => ops.tanh(x) },
  { name: 'minimum', shapes: [V, [4]], run: (ops, [a, b]) => ops.minimum(a, b) },
  { name: 'maximum', shapes: [V, []], run: (ops, [a, b]) => ops.maximum(a, b) },
  { name: 'rint', shapes: [V], from: -4, to: 4, flat: true, run: (ops, [x]) => ops.rint(x) },
  { name: 'sign', shapes: [V], flat: true, run: (ops, [x]) => ops.sign(x) },
  { name: 'greaterEqual', shapes: [V, [4]], flat: true, run: (ops, [a, b]) => ops.greaterEqual(a, b) },
  { name: 'where', shapes: [V, V, [4]], run: (ops, [c, a, b]) => ops.where(ops.greaterEqual(c, ops.constant(0)), a, b) },
  { name: 'sum of all', shapes: [V], run: (ops, [x]) => ops.sum(x) },
  { name: 'sum over the first axis', shapes: [[2, 3, 4]], run: (ops, [x]) => ops.sum(x, [0]) },
  { name: 'mean over two axes, kept', shapes: [[2, 3, 4]], run: (ops, [x]) => ops.mean(x, [0, -1], true) },
  { name: 'max over the last axis', shapes: [V], run: (ops, [x]) => ops.max(x, [-1]) },
  { name: 'max of all', shapes: [V], run: (ops, [x]) => ops.max(x) },
  { name: 'min over the middle axis, kept', shapes: [[2, 3, 4]], run: (ops, [x]) => ops.min(x, [1], true) },
  { name: 'reshape', shapes: [V], run: (ops, [x]) => ops.reshape(x, [2, 6]) },
  { name: 'transpose', shapes: [V], run: (ops, [x]) => ops.transpose(x) },
  { name: 'transpose by a permutation that is not its own inverse', shapes: [[2, 3, 4]], run: (ops, [x]) => ops.transpose(x, [2, 0, 1]) },
  { name: 'pad', shapes: [V], run: (ops, [x]) => ops.pad(x, [[0, 1], [2, 0]]) },
  { name: 'slice', shapes: [V], run: (ops, [x]) => ops.slice(x, [1, 0], [2, 3]) },
  { name: 'matmul', shapes: [V, [4, 5]], run: (ops, [a, b]) => ops.matmul(a, b) },
  { name: 'matmul, first transposed', shapes: [[4, 3], [4, 5]], run: (ops, [a, b]) => ops.matmul(a, b, true, false) },
  { name: 'matmul, second transposed', shapes: [V, [5, 4]], run: (ops, [a, b]) => ops.matmul(a, b, false, true) },
  { name: 'matmul, both transposed', shapes: [[4, 3], [5, 4]], run: (ops, [a, b]) => ops.matmul(a, b, true, true) },
  { name: 'matmul of stacks, second transposed', shapes: [[2, 3, 4], [2, 5, 4]], run: (ops, [a, b]) => ops.matmul(a, b, false, true) },
  { name: 'sin', shapes: [V], run: (ops, [x]) => ops.sin(x) },
  { name: 'cos', shapes: [V], run: (ops, [x]) => ops.cos(x) },
  { name: 'gather, a row twice and one not at all', shapes: [[4, 3]], run: (ops, [x]) => ops.gather(x, [2, 0, 2, 3]) },
  { name: 'gather of stacks by two axes of indices', shapes: [[3, 2, 2]], run: (ops, [x]) => ops.gather(x, [1, 1, 0, 2, 1, 0], [2, 3]) },
  { name: 'gather of scalars', shapes: [[5]], run: (ops, [x]) => ops.gather(x, [4, 4, 1]) },
  { name: 'concat along the first axis', shapes: [[1, 4], V], run: (ops, [a, b]) => ops.concat([a, b], 0) },
  { name: 'concat along the last axis, one of them twice', shapes: [V, [3, 2]], run: (ops, [a, b]) => ops.concat([a, b, a], -1) },
  { name: 'softmax', shapes: [[2, 3, 4]], run: (ops, [x]) => ops.softmax(x) },
  { name: 'softmax of large values', shapes: [V], from: 900, to: 901, run: (ops, [x]) => ops.softmax(x) },
  { name: 'logSumExp', shapes: [[2, 3, 4]], run: (ops, [x]) => ops.logSumExp(x) },
  { name: 'logSumExp, kept', shapes: [V], run: (ops, [x]) => ops.logSumExp(x, true) },
  { name: 'attention behind a causal mask', shapes: [[3, 3], [3, 4]], run: (ops, [scores, values]) => ops.matmul(ops.softmax(ops.where(causal(ops, 3), scores, ops.constant(-1e9))), values) },
  { name: 'a value used twice', shapes: [V], run: (ops, [x]) => ops.mul(x, ops.tanh(x)) },
  { name: 'an input that is not used', shapes: [V, V], run: (ops, [x]) => ops.mul(x, x) },
  { name: 'custom, saving its input', shapes: [V, [4]], run: (ops, inputs) => square(ops, inputs) },
]

/** 1 where a column is not after its row. */
function causal<T>(ops: Ops<T>, size: number): T {
  return ops.greaterEqual(ops.reshape(ops.range(size), [size, 1]), ops.range(size))
}

/** `a² + b` with its gradient written by hand. */
function square<T>(ops: Ops<T>, inputs: readonly T[]): T {
  return ops.custom(
    inputs,
    ([a, b]) => ({ output: ops.add(ops.mul(a, a), b), saved: [a] }),
    (dy, [a]) => [ops.mul(dy, ops.mul(ops.constant(2), a)), ops.sum(dy, [0])],
  )
}

/** Values spread over the range in an order without pattern, none of them on a tie or at 0. */
function sample(count: number, seed: number, from: number, to: number): Float32Array {
  let state = seed >>> 0
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return from + ((to - from) * (state + 0.5)) / 2 ** 32
  })
}

const STEP = 1e-4

/** Gradient of `Σ dy · f` by central differences in double precision. */
function centralDifferences(c: OpCase, values: readonly Float32Array[], dy: Float32Array): Float64Array[] {
  const { ops } = referenceOps({ precision: 'float64' })
  const leaf = (data: Float64Array | Float32Array, shape: readonly number[]): ReferenceTensor => ({ shape, data: Float64Array.from(data) })
  return values.map((changed, which) =>
    Float64Array.from(changed, (_, element) => {
      const loss = (shift: number): number => {
        const inputs = values.map((data, i) => {
          const moved = Float64Array.from(data)
          if (i === which) moved[element] += shift
          return leaf(moved, c.shapes[i])
        })
        return Array.from(c.run(ops, inputs).data).reduce((sum, y, i) => sum + y * dy[i], 0)
      }
      return (loss(STEP) - loss(-STEP)) / (2 * STEP)
    }),
  )
}

export interface OpsSuiteOptions {
  /** Accepted error of a value or gradient, relative to the largest magnitude in it. Default 2e-6, some float32 roundings. */
  readonly tolerance?: number
  /** The same of single operations, by name, that the backend's language computes less exactly. */
  readonly tolerances?: Readonly<Record<string, number>>
}

/** Runs every operation of a backend: values against the reference, gradients against central differences. */
export function opsSuite<T>(runner: TestRunner, name: string, factory: () => Differentiator<T> | Promise<Differentiator<T>>, options: OpsSuiteOptions = {}): void {
  const { tolerance: usual = 2e-6, tolerances = {} } = options
  const compare = (what: string, got: ArrayLike<number>, want: ArrayLike<number>, tolerance = usual): void => {
    check(got.length === want.length, `${what}: ${got.length} elements, expected ${want.length}`)
    const largest = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 1)
    for (let i = 0; i < want.length; i++) {
      check(Math.abs(got[i] - want[i]) <= tolerance * largest, `${what}: element ${i} is ${got[i]}, expected ${want[i]} within ${tolerance * largest}`)
    }
  }
  runner.describe(`${name}: differentiable operations`, () => {
    CASES.forEach((c, index) => {
      runner.it(c.name, async () => {
        const backend = await factory()
        const values = c.shapes.map((shape, i) => sample(shape.reduce((a, b) => a * b, 1), 17 + 31 * index + 7 * i, c.from ?? -2, c.to ?? 2))
        const want = c.run(referenceOps().ops, values.map((data, i) => ({ shape: c.shapes[i], data })))
        const dy = sample(want.data.length, 91 + index, -1, 1)
        const inputs = values.map((data, i) => backend.ops.constant(data, c.shapes[i]))
        const { y, gradients } = backend.vjp((leaves) => c.run(backend.ops, leaves), inputs, backend.ops.constant(dy, want.shape))
        check(backend.ops.shape(y).join() === want.shape.join(), `shape is [${backend.ops.shape(y).join(', ')}], expected [${want.shape.join(', ')}]`)
        const tolerance = Object.hasOwn(tolerances, c.name) ? tolerances[c.name] : usual
        compare('value', await backend.read(y), want.data, tolerance)
        const slopes = c.flat === true ? values.map((v) => new Float64Array(v.length)) : centralDifferences(c, values, dy)
        for (let i = 0; i < slopes.length; i++) {
          check(backend.ops.shape(gradients[i]).join() === c.shapes[i].join(), `gradient ${i} has shape [${backend.ops.shape(gradients[i]).join(', ')}]`)
          compare(`gradient ${i}`, await backend.read(gradients[i]), slopes[i], tolerance)
        }
      })
    })
    runner.it('rint rounds halves to even', async () => {
      const backend = await factory()
      const values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 8388609]
      const want = [-2, -2, 0, 0, 2, 2, 8388609]
      const got = await backend.read(backend.ops.rint(backend.ops.constant(Float32Array.from(values))))
      want.forEach((w, i) => check(got[i] === w, `rint(${values[i]}) is ${got[i]}, expected ${w}`))
    })
    runner.it('div is a true division', async () => {
      const backend = await factory()
      const a = sample(256, 5, 0.1, 100)
      const b = sample(256, 6, 0.1, 100)
      const got = await backend.read(backend.ops.div(backend.ops.constant(a), backend.ops.constant(b)))
      for (let i = 0; i < a.length; i++) check(got[i] === Math.fround(a[i] / b[i]), `${a[i]} / ${b[i]} is ${got[i]}, expected ${Math.fround(a[i] / b[i])}: codes would differ from the converted model's`)
    })
    runner.it('gather refuses what is no row', async () => {
      const { ops } = await factory()
      for (const index of [-1, 3, 0.5]) {
        let refused = false
        try {
          ops.gather(ops.constant(new Float32Array(6), [3, 2]), [0, index])
        } catch (error) {
          refused = isLowbitError(error, 'LOWBIT_SHAPE')
        }
        check(refused, `index ${index} of 3 rows is taken`)
      }
    })
    runner.it('softmax and logSumExp stay finite where values are out of reach of exp', async () => {
      const { ops, read } = await factory()
      const x = ops.constant(Float32Array.of(1000, 0, -1000, -1e9, 1e9, 0), [2, 3])
      compare('softmax', await read(ops.softmax(x)), [1, 0, 0, 0, 1, 0])
      compare('logSumExp', await read(ops.logSumExp(x)), [1000, 1e9])
    })
    runner.it('stopGradient passes the value and no gradient', async () => {
      const backend = await factory()
      const { ops } = backend
      const x = ops.constant(Float32Array.of(2, 3))
      const { y, gradients } = backend.vjp(([v]) => ops.mul(v, ops.stopGradient(v)), [x], ops.constant(Float32Array.of(1, 1)))
      compare('value', await backend.read(y), [4, 9])
      compare('gradient', await backend.read(gradients[0]), [2, 3])
    })
  })
}
