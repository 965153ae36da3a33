import { codeRange, type Granularity, type IntegerCode, type Ops } from '@lowbit/core'
import { lsqQuantize, ste } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { registerWasmGradients, tfjsDifferentiator, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const GRANULARITIES: readonly { readonly granularity: Granularity; readonly grid: (rows: number, columns: number) => number[] }[] = [
  { granularity: { kind: 'tensor' }, grid: () => [] },
  { granularity: { kind: 'channel', axis: 0 }, grid: (rows) => [rows] },
  { granularity: { kind: 'channel', axis: 1 }, grid: (_, columns) => [columns] },
  { granularity: { kind: 'group', axis: 1, size: 5 }, grid: (rows, columns) => [rows, Math.ceil(columns / 5)] },
  { granularity: { kind: 'group', axis: 1, size: 8 }, grid: (rows, columns) => [rows, Math.ceil(columns / 8)] },
  { granularity: { kind: 'group', axis: 0, size: 4 }, grid: (rows, columns) => [Math.ceil(rows / 4), columns] },
]

/** The same operations without the kernel: estimators then compose. */
function composed(): Ops<Tensor> {
  const { fakeQuantKernel, ...ops } = tfjsDifferentiator(tf).ops
  expect(fakeQuantKernel).toBeDefined()
  return ops
}

const numbers = (t: Tensor): number[] => Array.from(t.dataSync<'float32'>())

function close(got: number[], want: number[], what: string, terms = 1e-6): void {
  const scale = want.reduce((m, v) => Math.max(m, Math.abs(v)), terms)
  expect(got.length).toBe(want.length)
  got.forEach((v, i) => expect(Math.abs(v - want[i]) / scale, `${what} ${i}`).toBeLessThan(2e-6))
}

const values = (count: number, seed: number, spread: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.fround(spread * Math.sin(i * 12.9898 + seed * 78.233) * 1.3))

/**
 * Value and gradients of `f` under both sets of operations: values equal to the bit, gradients to the order of sums.
 * @param reach - largest factor of dy in the gradient of a scale: its terms may cancel, so that its error is theirs, not its own
 */
function compare(f: (ops: Ops<Tensor>, inputs: readonly Tensor[]) => Tensor, inputs: readonly { shape: number[]; data: Float32Array }[], reach = 0): void {
  tf.tidy(() => {
    const tensors = inputs.map(({ shape, data }) => tf.tensor(data, shape))
    const dy = tf.tensor(values(tensors[0].size, 7, 1), tensors[0].shape)
    const { vjp, ops } = tfjsDifferentiator(tf)
    const plain = composed()
    const fused = vjp((x) => f(ops, x), tensors, dy)
    const want = vjp((x) => f(plain, x), tensors, dy)
    expect(numbers(fused.y).map((v) => v + 0)).toEqual(numbers(want.y).map((v) => v + 0))
    fused.gradients.forEach((g, i) => {
      expect(g.shape).toEqual(tensors[i].shape)
      const terms = i === 0 ? 0 : reach * numbers(dy).reduce((sum, v) => sum + Math.abs(v), 0)
      close(numbers(g), numbers(want.gradients[i]), `gradient of input ${i}`, Math.max(1e-6, terms))
    })
  })
}

describe('fake quantization in one pass', () => {
  const types: IntegerCode[] = ['int8', 'int4', 'uint4', 'int2', 'ternary']

  it('is what LSQ composes: every granularity, sizes that no vector divides', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 23 }), fc.integer({ min: 1, max: 23 }), fc.constantFrom(...types), fc.integer({ min: 0, max: 99 }), (rows, columns, dtype, seed) => {
        for (const { granularity, grid } of GRANULARITIES) {
          const shape = grid(rows, columns)
          const count = shape.reduce((a, b) => a * b, 1)
          const scales = values(count, seed + 1, 0.1).map((v) => Math.abs(v) + 0.02)
          const options = { granularity, range: codeRange(dtype), ...(seed % 3 === 0 ? { gradientScale: 0.5 } : {}) }
          compare((ops, [x, s]) => lsqQuantize(ops, x, s, options), [{ shape: [rows, columns], data: values(rows * columns, seed, 1) }, { shape, data: scales }], Math.max(options.range.max, -options.range.min))
        }
      }),
      { numRuns: 40 },
    )
  })

  it('is what the straight-through estimator composes: observed, from the values, per token', () => {
    const state = (low: number, high: number) => ({ read: (name: string) => tf.scalar(name === 'low' ? low : name === 'high' ? high : 1), write: () => undefined, step: 5, training: false })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 19 }), fc.integer({ min: 1, max: 19 }), fc.integer({ min: 0, max: 99 }), (rows, columns, seed) => {
        const x = [{ shape: [rows, columns], data: values(rows * columns, seed, 2) }]
        for (const symmetric of [false, true]) {
          for (const role of ['weight', 'activation'] as const) {
            for (const { granularity } of [...GRANULARITIES, { granularity: { kind: 'token' } } as const]) {
              if (role === 'weight' ? granularity.kind === 'token' : granularity.kind !== 'token' && granularity.kind !== 'tensor') continue
              for (const rule of ['no-clipping', 'half-range'] as const) {
                const quant = ste({ rule }).fakeQuant({ scheme: { dtype: 'int4', granularity, symmetric }, shape: [rows, columns], role })
                compare((ops, [v]) => quant.forward(ops, v, state(-1, 0.8)), x)
              }
            }
          }
        }
      }),
      { numRuns: 25 },
    )
  })

  it('sums the gradient of one scale over a long activation in float32 precision', () => {
    const n = 200_003
    const x = values(n, 3, 1)
    const [dy, g] = tf.tidy(() => {
      const { vjp, ops } = tfjsDifferentiator(tf)
      const flow = tf.ones([n])
      const { gradients } = vjp(([v, s]) => lsqQuantize(ops, v, s, { granularity: { kind: 'tensor' }, range: { min: 0, max: 15 }, gradientScale: 1 }), [tf.tensor(x), tf.scalar(0.05)], flow)
      return [n, gradients[1].dataSync()[0]]
    })
    const s = Math.fround(0.05)
    const want = x.reduce((sum, v) => {
      const ratio = Math.fround(v / s)
      const clamped = Math.min(15, Math.max(0, ratio))
      const rounded = Math.abs(clamped % 1) === 0.5 ? 2 * Math.round(clamped / 2) : Math.round(clamped)
      return sum + (ratio >= 0 && ratio <= 15 ? rounded - ratio : rounded)
    }, 0)
    expect(dy).toBe(n)
    expect(Math.abs(g - want) / Math.abs(want)).toBeLessThan(1e-6)
  })

  it('takes layouts that it does not know by composition, and other backends too', async () => {
    const { ops } = tfjsDifferentiator(tf)
    expect(ops.fakeQuantKernel?.({ kind: 'channel', axis: 1 }, [3, 4, 5])).toBeUndefined()
    expect(ops.fakeQuantKernel?.({ kind: 'channel', axis: 1 }, [1, 4, 5])).toBeDefined()
    expect(ops.fakeQuantKernel?.({ kind: 'tensor' }, [0, 4])).toBeUndefined()
    compare((o, [x, s]) => lsqQuantize(o, x, s, { granularity: { kind: 'channel', axis: 1 }, range: { min: -8, max: 7 } }), [{ shape: [3, 4, 5], data: values(60, 1, 1) }, { shape: [4], data: values(4, 2, 0.1).map((v) => Math.abs(v) + 0.02) }])
    await useBackend('cpu')
    expect(ops.fakeQuantKernel?.({ kind: 'tensor' }, [3, 4])).toBeUndefined()
    await useBackend('wasm')
  })

  it('writes nothing beyond its output', () => {
    tf.tidy(() => {
      for (const n of [1, 2, 3, 5, 6, 7]) {
        const before = tf.fill([64], 9)
        const { ops } = tfjsDifferentiator(tf)
        const kernel = ops.fakeQuantKernel?.({ kind: 'tensor' }, [n])
        const y = kernel?.lsq(tf.fill([n], 0.3), tf.scalar(0.1), { min: -8, max: 7 })
        const after = tf.fill([64], 9)
        expect(y?.size).toBe(n)
        expect([...numbers(before), ...numbers(after)].every((v) => v === 9)).toBe(true)
      }
    })
  })
})
