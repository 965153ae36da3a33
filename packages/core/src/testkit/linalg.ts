import type { LinAlg } from '../contract/v2/linalg.js'
import { referenceLinAlg } from '../linalg/reference.js'
import type { Slices } from '../slices/slices.js'
import { check, type TestRunner } from './runner.js'
import { toyRandom } from './toy-random.js'

export interface LinAlgSuiteOptions {
  readonly runner: TestRunner
  readonly factory: () => LinAlg
}

/** Around the sides of tiles and panels, where fast code goes wrong, and single rows and columns. */
const SIZES = [1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 64, 65, 127, 130, 150] as const

/** What all linear algebra must do: the results of the reference but for the order of sums, the same bytes on every run. */
export function linalgSuite({ runner: { describe, it }, factory }: LinAlgSuiteOptions): void {
  const linalg = factory()
  describe(`linear algebra ${linalg.name}`, () => {
    it('multiplies matrices of any size', () => {
      for (const [i, m] of SIZES.entries()) {
        const k = SIZES[(i * 4 + 3) % SIZES.length]
        const n = SIZES[(i * 7 + 5) % SIZES.length]
        const [a, b] = [uniform(m * k, i), uniform(k * n, i + 100)]
        near(linalg.matmul(a, b, m, k, n), referenceLinAlg.matmul(a, b, m, k, n), 1e-12, `[${m}, ${k}] × [${k}, ${n}]`)
      }
      // More than one panel along every axis.
      const [a, b] = [uniform(530 * 300, 1), uniform(300 * 140, 2)]
      near(linalg.matmul(a, b, 530, 300, 140), referenceLinAlg.matmul(a, b, 530, 300, 140), 1e-12, '[530, 300] × [300, 140]')
      check(linalg.matmul(new Float64Array(0), new Float64Array(0), 3, 0, 2).every((v) => v === 0), 'a product over nothing is not 0')
    })

    it('adds to the Gram matrix it is given, both triangles, the same however rows arrive', () => {
      for (const n of SIZES) {
        const rows = 2 * n + 270
        const x = Float32Array.from(uniform(rows * n, n))
        const whole = new Float64Array(n * n).fill(0.5)
        const parts = whole.slice()
        const wanted = whole.slice()
        linalg.addGram(x, rows, n, whole)
        linalg.addGram(x.subarray(0, 7 * n), 7, n, parts)
        linalg.addGram(x.subarray(7 * n), rows - 7, n, parts)
        referenceLinAlg.addGram(x, rows, n, wanted)
        near(whole, wanted, 1e-10, `Gram matrix of ${n} columns`)
        near(parts, wanted, 1e-10, `Gram matrix of ${n} columns in two parts`)
        check(whole.every((v, i) => v === whole[(i % n) * n + Math.floor(i / n)]), `the Gram matrix of ${n} columns is not symmetric`)
      }
    })

    it('factorises H as R Rᵀ with R upper, and inverts R', () => {
      for (const n of [...SIZES, 290]) {
        const h = positive(n, n)
        const before = h.slice()
        const result = linalg.reverseCholesky(h, n)
        const wanted = referenceLinAlg.reverseCholesky(h, n)
        if (!result.ok || !wanted.ok) throw new Error(`${n}: a positive definite matrix was refused`)
        check(h.every((v, i) => v === before[i]), `${n}: the matrix was changed`)
        check(result.factor.every((v, i) => v === 0 || i % n >= Math.floor(i / n)), `${n}: the factor is not upper`)
        near(result.factor, wanted.factor, 1e-9, `factor of ${n}`)
        const kept = result.factor.slice()
        near(linalg.invertUpper(result.factor, n), referenceLinAlg.invertUpper(result.factor, n), 1e-9, `inverse of ${n}`)
        check(result.factor.every((v, i) => v === kept[i]), `${n}: inverting changed the factor`)
      }
    })

    it('names the first pivot that is not positive, counted from the last', () => {
      for (const n of [3, 40, 100]) {
        const h = new Float64Array(n * n)
        for (let i = 0; i < n; i++) h[i * n + i] = i === 1 ? -1 : 4
        const result = linalg.reverseCholesky(h, n)
        check(!result.ok && result.pivot === 1, `${n}: ${JSON.stringify(result)} instead of pivot 1`)
      }
    })

    it('refuses a singular matrix instead of factorising its rounding noise, and NaN', () => {
      for (let seed = 0; seed < 10; seed++) {
        const h = new Float64Array(64 * 64)
        referenceLinAlg.addGram(Float32Array.from(uniform(20 * 64, seed)), 20, 64, h)
        check(!linalg.reverseCholesky(h, 64).ok, `seed ${seed}: a matrix of rank 20 was factorised`)
      }
      const result = linalg.reverseCholesky(Float64Array.from([1, 0, 0, Number.NaN]), 2)
      check(!result.ok && result.pivot === 1, 'NaN was factorised')
    })

    it('gives the same bits in slices, however many computations take turns', () => {
      const random = toyRandom(17)
      for (let round = 0; round < 6; round++) {
        const n = SIZES[Math.floor(random() * SIZES.length)] + 40 * round
        const h = positive(n, round)
        const x = Float32Array.from(uniform(3 * n * 5, round))
        const whole = new Float64Array(n * n)
        linalg.addGram(x, 15, n, whole)
        const sliced = new Float64Array(n * n)
        const factor = linalg.reverseCholesky(h, n)
        if (!factor.ok) throw new Error(`${n}: a positive definite matrix was refused`)
        const works: (() => boolean)[] = [
          run(linalg.slices.addGram(x, 15, n, sliced), () => same(sliced, whole, `Gram matrix of ${n} columns in slices`)),
          run(linalg.slices.matmul(h, h, n, n, n), (value) => same(value, linalg.matmul(h, h, n, n, n), `product of ${n} in slices`)),
          run(linalg.slices.reverseCholesky(h, n), (value) => same(value.ok ? value.factor : [], factor.factor, `factor of ${n} in slices`)),
          run(linalg.slices.invertUpper(factor.factor, n), (value) => same(value, linalg.invertUpper(factor.factor, n), `inverse of ${n} in slices`)),
        ]
        while (works.length > 0) {
          const at = Math.floor(random() * works.length)
          if (works[at]()) works.splice(at, 1)
        }
      }
    })

    it('gives the same bytes twice, and from another instance', () => {
      const h = positive(130, 9)
      const x = Float32Array.from(uniform(300 * 130, 4))
      const bytes = (l: LinAlg): string => {
        const gram = new Float64Array(130 * 130)
        l.addGram(x, 300, 130, gram)
        const factor = l.reverseCholesky(h, 130)
        return [gram, l.matmul(h, gram, 130, 130, 130), factor.ok ? factor.factor : []].map((v) => v.join()).join()
      }
      check(bytes(linalg) === bytes(linalg) && bytes(linalg) === bytes(factory()), 'two runs differ')
    })
  })
}

/** A computation as steps: true when it has ended. */
function run<T>(slices: Slices<T>, then: (value: T) => void): () => boolean {
  return () => {
    const step = slices.next()
    if (step.done === true) then(step.value)
    return step.done === true
  }
}

function same(found: ArrayLike<number>, wanted: ArrayLike<number>, thing: string): void {
  check(found.length === wanted.length, `${thing}: ${found.length} values instead of ${wanted.length}`)
  for (let i = 0; i < found.length; i++) check(Object.is(found[i], wanted[i]), `${thing}: element ${i} is ${found[i]}, at once ${wanted[i]}`)
}

function uniform(count: number, seed: number): Float64Array {
  const random = toyRandom(seed)
  return Float64Array.from({ length: count }, () => 2 * random() - 1)
}

function positive(n: number, seed: number): Float64Array {
  const h = new Float64Array(n * n)
  referenceLinAlg.addGram(Float32Array.from(uniform(2 * n * n, seed)), 2 * n, n, h)
  for (let i = 0; i < n; i++) h[i * n + i] += 1
  return h
}

function near(found: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number, thing: string): void {
  check(found.length === wanted.length, `${thing}: ${found.length} values instead of ${wanted.length}`)
  for (let i = 0; i < found.length; i++) check(Math.abs(found[i] - wanted[i]) <= tolerance, `${thing}: element ${i} is ${found[i]} instead of ${wanted[i]}`)
}
