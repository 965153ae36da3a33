import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import type { LinAlg } from '../../src/contract/v2/linalg.js'
import { fastLinAlg } from '../../src/linalg/fast.js'
import { referenceLinAlg } from '../../src/linalg/reference.js'

/** A linear congruential generator: tests must see the same numbers everywhere. */
function random(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  }
}

function samples(rows: number, n: number, seed: number): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length: rows * n }, next)
}

function gramOf(rows: number, n: number, seed: number): Float64Array {
  const h = new Float64Array(n * n)
  referenceLinAlg.addGram(samples(rows, n, seed), rows, n, h)
  return h
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let worst = 0
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i] - b[i]))
  return worst
}

const transpose = (a: Float64Array, n: number): Float64Array => a.map((_, i) => a[(i % n) * n + Math.floor(i / n)])
const identity = (n: number): Float64Array => new Float64Array(n * n).map((_, i) => (i % (n + 1) === 0 ? 1 : 0))
const size = fc.integer({ min: 1, max: 150 })

describe.each<[string, LinAlg]>([['reference', referenceLinAlg], ['fast', fastLinAlg]])('%s linear algebra', (_, linalg) => {
  it('factorises H as R Rᵀ with R upper, and R⁻¹ is the upper Cholesky factor of H⁻¹', () => {
    const n = 37
    const h = gramOf(80, n, 3)
    const result = linalg.reverseCholesky(h, n)
    if (!result.ok) throw new Error(`pivot ${result.pivot} of a positive definite matrix`)
    const r = result.factor
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) expect(r[i * n + j]).toBe(0)
    expect(largestDifference(linalg.matmul(r, transpose(r, n), n, n, n), h)).toBeLessThan(1e-11)
    const u = linalg.invertUpper(r, n)
    expect(largestDifference(linalg.matmul(u, r, n, n, n), identity(n))).toBeLessThan(1e-12)
    const inverse = linalg.matmul(transpose(u, n), u, n, n, n)
    expect(largestDifference(linalg.matmul(inverse, h, n, n, n), identity(n))).toBeLessThan(1e-10)
  })

  it('names the first pivot that is not positive, counted from the last', () => {
    const h = Float64Array.from([4, 0, 0, 0, -1, 0, 0, 0, 9])
    expect(linalg.reverseCholesky(h, 3)).toEqual({ ok: false, pivot: 1 })
  })

  it('refuses a singular matrix instead of factorising its rounding noise', () => {
    for (let seed = 0; seed < 10; seed++) expect(linalg.reverseCholesky(gramOf(20, 64, seed), 64).ok).toBe(false)
  })

  it('refuses NaN', () => {
    expect(linalg.reverseCholesky(Float64Array.from([1, 0, 0, Number.NaN]), 2)).toEqual({ ok: false, pivot: 1 })
  })

  it('leaves its inputs alone', () => {
    const h = gramOf(80, 20, 1)
    const before = h.slice()
    const result = linalg.reverseCholesky(h, 20)
    expect(h).toEqual(before)
    if (!result.ok) throw new Error('not positive definite')
    const r = result.factor.slice()
    linalg.invertUpper(result.factor, 20)
    expect(result.factor).toEqual(r)
  })

  it('adds to the Gram matrix it is given, the same however rows arrive', () => {
    const x = samples(300, 13, 5)
    const whole = new Float64Array(169)
    linalg.addGram(x, 300, 13, whole)
    const parts = new Float64Array(169)
    linalg.addGram(x.subarray(0, 7 * 13), 7, 13, parts)
    linalg.addGram(x.subarray(7 * 13), 293, 13, parts)
    expect(largestDifference(whole, parts)).toBeLessThan(1e-11)
    expect(largestDifference(whole, transpose(whole, 13))).toBe(0)
  })
})

describe('fast against reference', () => {
  it('agrees for any size', () => {
    fc.assert(
      fc.property(size, size, size, fc.integer({ min: 0, max: 1000 }), (m, k, n, seed) => {
        const a = Float64Array.from(samples(m, k, seed))
        const b = Float64Array.from(samples(k, n, seed + 1))
        expect(largestDifference(fastLinAlg.matmul(a, b, m, k, n), referenceLinAlg.matmul(a, b, m, k, n))).toBeLessThan(1e-12)
        const x = samples(m, n, seed + 2)
        const fast = new Float64Array(n * n).fill(0.5)
        const slow = fast.slice()
        fastLinAlg.addGram(x, m, n, fast)
        referenceLinAlg.addGram(x, m, n, slow)
        expect(largestDifference(fast, slow)).toBeLessThan(1e-11)
        for (let i = 0; i < n; i++) slow[i * n + i] += 1
        const f = fastLinAlg.reverseCholesky(slow, n)
        const s = referenceLinAlg.reverseCholesky(slow, n)
        if (!f.ok || !s.ok) throw new Error('positive definite by construction')
        expect(largestDifference(f.factor, s.factor)).toBeLessThan(1e-10)
        expect(largestDifference(fastLinAlg.invertUpper(s.factor, n), referenceLinAlg.invertUpper(s.factor, n))).toBeLessThan(1e-10)
      }),
      { numRuns: 25 },
    )
  })

  it('gives the same bytes twice', () => {
    const h = gramOf(200, 130, 9)
    expect(fastLinAlg.reverseCholesky(h, 130)).toEqual(fastLinAlg.reverseCholesky(h, 130))
  })
})
