import { describe, expect, it } from 'vitest'
import { isLowbitError } from '../../src/errors.js'
import { referenceOps } from '../../src/reference/ops.js'
import { opsSuite } from '../../src/testkit/ops.js'

opsSuite({ describe, it }, 'reference operations', () => referenceOps())

describe('reference operations', () => {
  const { ops, vjp } = referenceOps()

  it('store float32, not more', () => {
    expect(ops.add(ops.constant(1), ops.constant(2 ** -30)).data[0]).toBe(1)
    expect(ops.div(ops.constant(1), ops.constant(3)).data[0]).toBe(Math.fround(1 / 3))
  })

  it('share the gradient of a maximum among all that reach it', () => {
    const { gradients } = vjp(([x]) => ops.max(x), [ops.constant(Float32Array.of(1, 3, 3))], ops.constant(1))
    expect([...gradients[0].data]).toEqual([0, 0.5, 0.5])
  })

  it('walk a long chain without a deep call stack', () => {
    const { gradients } = vjp(([x]) => {
      let y = x
      for (let i = 0; i < 20_000; i++) y = ops.add(y, x)
      return y
    }, [ops.constant(1)], ops.constant(1))
    expect(gradients[0].data[0]).toBe(20_001)
  })

  it('name shapes that do not fit', () => {
    const a = ops.constant(new Float32Array(6), [2, 3])
    const code = (run: () => unknown): boolean => {
      try {
        run()
      } catch (error) {
        return isLowbitError(error, 'LOWBIT_SHAPE')
      }
      return false
    }
    expect(code(() => ops.add(a, ops.constant(new Float32Array(2))))).toBe(true)
    expect(code(() => ops.matmul(a, a))).toBe(true)
    expect(code(() => ops.slice(a, [1, 0], [2, 3]))).toBe(true)
    expect(code(() => ops.sum(a, [2]))).toBe(true)
    expect(code(() => ops.reshape(a, [4]))).toBe(true)
    expect(code(() => ops.constant(new Float32Array(2), [3]))).toBe(true)
  })

  it('refuse a custom gradient of the wrong shape', () => {
    const run = (): unknown => vjp(([x]) => ops.custom([x], ([v]) => ({ output: v, saved: [] }), () => [ops.constant(1)]), [ops.constant(new Float32Array(2))], ops.constant(new Float32Array(2)))
    expect(run).toThrow(/gradient of input 0/)
  })
})
