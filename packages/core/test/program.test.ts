import { describe, expect, it } from 'vitest'
import { checkProgram, dequantizeGrouped, isLowbitError, referenceProgram, type Program } from '../src/index.js'
import { toyDecoder, toyGrouped } from '../src/testkit/index.js'

describe('program', () => {
  const decoder = toyDecoder({ extras: true, window: 6, weights: (_, n, k, seed) => toyGrouped(n, k, seed, { minima: true }) })
  const { program } = decoder

  it('gives the same numbers for a prompt at once and token by token', () => {
    const tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5]
    const whole = referenceProgram(program, decoder).run({ tokens, start: 0, wanted: 9 })
    const steps = referenceProgram(program, decoder)
    tokens.forEach((token, start) => expect(steps.run({ tokens: [token], start })).toEqual(whole.slice(start * 50, (start + 1) * 50)))
    expect(steps.read('x')).toHaveLength(64)
  })

  it('attends to what a formula says: two positions, one head', () => {
    const small: Program = {
      rows: 2, wanted: 2, context: 4, matrices: {}, vectors: {}, output: 'y', caches: { c: { heads: 1, size: 2, type: 'float32' } },
      buffers: { q: { width: 2 }, k: { width: 2 }, v: { width: 2 }, a: { width: 2 }, y: { width: 2, rows: 'wanted' } },
      steps: [{ op: 'append', cache: 'c', keys: 'k', values: 'v' }, { op: 'attention', queries: 'q', cache: 'c', to: 'a', heads: 1, scale: 0.5 }, { op: 'select', from: 'a', to: 'y' }],
    }
    const y = referenceProgram(small, { matrices: {}, vectors: {} }).run({ rows: 2, start: 0, wanted: 2, buffers: { q: Float32Array.of(1, 0, 1, 1), k: Float32Array.of(1, 2, 3, 4), v: Float32Array.of(10, 20, 30, 40) } })
    // scores of the second row: 0.5 · 3 and 0.5 · 7
    const weight = 1 / (1 + Math.exp(-2))
    expect([...y.slice(0, 2)]).toEqual([10, 20])
    expect(y[2]).toBeCloseTo(10 + 20 * weight, 12)
    expect(y[3]).toBeCloseTo(20 + 20 * weight, 12)
  })

  it('refuses programs that do not hold together, and names the step', () => {
    const bound = { matrices: program.matrices, vectors: decoder.vectors }
    checkProgram(program, bound)
    const broken = (change: Partial<Program>): string => {
      try {
        checkProgram({ ...program, ...change }, bound)
      } catch (error) {
        if (isLowbitError(error)) return error.message
        throw error
      }
      return 'accepted'
    }
    expect(broken({ steps: [{ op: 'add', a: 'x', b: 'k', to: 'x' }] })).toMatch(/LOWBIT_SHAPE: step 0 \(add\): width of x/)
    expect(broken({ steps: [{ op: 'add', a: 'x', b: 'constructor', to: 'x' }] })).toMatch(/LOWBIT_ARGUMENT: step 0 \(add\): buffer constructor is not declared/)
    expect(broken({ steps: [{ op: 'copy', from: 'x', to: 'last' }] })).toMatch(/LOWBIT_ARGUMENT: step 0 \(copy\).*rows of the run/)
    expect(broken({ steps: [{ op: 'attention', queries: 'q', cache: '0.cache', to: 'q', heads: 4, scale: 1 }] })).toMatch(/LOWBIT_ARGUMENT: step 0 \(attention\): q is read and written/)
    expect(broken({ steps: [{ op: 'norm', from: 'x', to: 'h', epsilon: NaN }] })).toMatch(/LOWBIT_ARGUMENT: step 0 \(norm\): epsilon: NaN/)
    expect(broken({ steps: [{ op: 'rope', buffer: 'q', heads: 4, rotated: 17, cos: 'cos', sin: 'sin', style: 'halves' }] })).toMatch(/LOWBIT_ARGUMENT: step 0 \(rope\): rotated: 17/)
    expect(broken({ output: 'x' })).toMatch(/LOWBIT_ARGUMENT: output: buffer x of all rows/)
    expect(broken({ context: 41 })).toMatch(/LOWBIT_SHAPE.*table cos/)
    expect(broken({ wanted: 17 })).toMatch(/LOWBIT_ARGUMENT: program: wanted/)
    expect(broken({ rows: 1.5 })).toMatch(/LOWBIT_ARGUMENT: program: rows/)
    expect(broken({ steps: [] })).toMatch(/LOWBIT_ARGUMENT: program: steps/)
  })
})

describe('GroupedTensor', () => {
  it('means level · scale + minimum, the last group short', () => {
    const t = { shape: [1, 5], codes: Uint8Array.of(0, 1, 2, 3, 1), group: 2, scales: Float32Array.of(2, 3, 4), minima: Float32Array.of(1, 0, -1) } as const
    expect([...dequantizeGrouped(t).data]).toEqual([1, 3, 6, 9, 3])
    expect([...dequantizeGrouped({ ...t, levels: Int8Array.of(-7, 0, 5, 9) }).data]).toEqual([-13, 1, 15, 27, -1])
  })

  it('refuses sizes and codes that do not fit', () => {
    const t = { shape: [1, 4], codes: Uint8Array.of(0, 1, 2, 3), group: 2, scales: Float32Array.of(2, 3) } as const
    const code = (change: object): string => {
      try {
        dequantizeGrouped({ ...t, ...change })
      } catch (error) {
        if (isLowbitError(error)) return error.code
      }
      return 'accepted'
    }
    expect(code({})).toBe('accepted')
    expect(code({ scales: Float32Array.of(2) })).toBe('LOWBIT_SHAPE')
    expect(code({ minima: Float32Array.of(2) })).toBe('LOWBIT_SHAPE')
    expect(code({ group: 0 })).toBe('LOWBIT_GROUP_SIZE')
    expect(code({ shape: [1, 5] })).toBe('LOWBIT_SHAPE')
    expect(code({ levels: Int8Array.of(1, 2, 3) })).toBe('LOWBIT_DATA')
  })
})
