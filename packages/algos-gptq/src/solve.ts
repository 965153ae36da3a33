import { clamp, gridCode, gridValue, roundHalfEven, type CodeGrid, type LinAlg, type Slices } from '@lowbit/core'
import type { Hessian } from './hessian.js'
import { chooseParams, type ScaleRule } from './scales.js'

/** Rows worked on together: their state of one block of columns stays in cache. */
export const STRIP = 256

/** Some rows of one weight that share a Hessian, and where their codes and scales go. */
export interface Problem {
  /** `[rows, K]` */
  readonly weight: Float32Array
  readonly rows: number
  readonly columns: number
  readonly grid: CodeGrid
  /** Columns that share a scale; K for one scale a row. */
  readonly groupSize: number
  /** `[rows, ceil(K / groupSize)]`, read if `fixed`, else written. */
  readonly scales: Float32Array
  readonly zeros: Float64Array
  /** Scales and zero points are given and stay as they are. */
  readonly fixed: boolean
  readonly rule: ScaleRule
  /** `[rows, K]`, written. */
  readonly codes: { [index: number]: number }
}

export interface Schedule {
  readonly blocksize: number
  readonly linalg: LinAlg
}

/**
 * GPTQ's column loop (Frantar et al. 2022, algorithm 1), written with the factor `H = R Rᵀ` instead of the inverse.
 * What column j should hold once the weights before it have moved by `d` is `w_j + (Σ_{i<j} d_i R[i, j]) / R[j, j]`:
 * the same as subtracting each error times the row of `U = R⁻¹`, with one factorisation less.
 */
export function* solve(problem: Problem, hessian: Hessian, schedule: Schedule): Slices<void> {
  for (let first = 0; first < problem.rows; first += STRIP) {
    yield* new Strip(problem, hessian, schedule, first, Math.min(STRIP, problem.rows - first)).run()
  }
}

/** State of a strip, columns outermost and in the order they are taken: the inner loops run over rows. */
class Strip {
  readonly #p: Problem
  readonly #h: Hessian
  readonly #s: Schedule
  readonly #first: number
  readonly #n: number
  /** `[K, n]`: weight minus rounded weight. */
  readonly #delta: Float64Array

  constructor(problem: Problem, hessian: Hessian, schedule: Schedule, first: number, n: number) {
    this.#p = problem
    this.#h = hessian
    this.#s = schedule
    this.#first = first
    this.#n = n
    this.#delta = new Float64Array(problem.columns * n)
  }

  *run(): Slices<void> {
    const { columns: k } = this.#p
    const groups = this.#dynamicGroups()
    for (let from = 0; from < k; from += this.#s.blocksize) {
      const to = Math.min(k, from + this.#s.blocksize)
      const carried = yield* this.#carried(from, to, from)
      for (let j = from; j < to; j++) {
        if (groups > 0 && j % groups === 0) yield* this.#startGroup(j, Math.min(k, j + groups), from, to, carried)
        this.#column(j, from, to, carried)
        yield
      }
    }
  }

  /** Size of groups whose scale is found on the way; 0 if all scales are known. */
  #dynamicGroups(): number {
    return this.#p.fixed ? 0 : this.#p.groupSize
  }

  /** `[to − from, n]`: what the first `depth` columns, all rounded, carry over to these. */
  *#carried(from: number, to: number, depth: number): Slices<Float64Array> {
    const k = this.#p.columns
    const width = to - from
    if (depth === 0) return new Float64Array(width * this.#n)
    const r = new Float64Array(width * depth)
    for (let i = 0; i < depth; i++) {
      for (let j = 0; j < width; j++) r[j * depth + i] = this.#h.factor[i * k + from + j]
      if (i % 256 === 255) yield
    }
    return yield* this.#s.linalg.slices.matmul(r, this.#delta.subarray(0, depth * this.#n), width, depth, this.#n)
  }

  #column(j: number, from: number, to: number, carried: Float64Array): void {
    const { columns: k, weight, grid, groupSize, scales, zeros, codes } = this.#p
    const n = this.#n
    const delta = this.#delta
    const perRow = Math.ceil(k / groupSize)
    const column = this.#h.order[j]
    const pivot = this.#h.factor[j * k + j]
    const granule = Math.floor(column / groupSize)
    const { min, max, floatZero, table } = grid
    const here = (j - from) * n
    for (let r = 0; r < n; r++) {
      const row = this.#first + r
      const scale = scales[row * perRow + granule]
      const zero = zeros[row * perRow + granule]
      const original = weight[row * k + column]
      const w = original + carried[here + r] / pivot
      if (table !== undefined) {
        const params = { scale, zero }
        const entry = gridCode(grid, params, w)
        codes[row * k + column] = entry
        delta[j * n + r] = original - gridValue(grid, params, entry)
        continue
      }
      const code = scale === 0 ? zero : clamp(floatZero ? roundHalfEven(w / scale + zero) : roundHalfEven(w / scale) + zero, min, max)
      codes[row * k + column] = code
      delta[j * n + r] = original - (code - zero) * scale
    }
    for (let t = j + 1; t < to; t++) {
      const factor = this.#h.factor[j * k + t]
      if (factor === 0) continue
      const there = (t - from) * n
      for (let r = 0; r < n; r++) carried[there + r] += factor * delta[j * n + r]
    }
  }

  /** Finds the scales of columns `[g0, g1)` from the weights as they stand now, with every earlier error propagated. */
  *#startGroup(g0: number, g1: number, from: number, to: number, carried: Float64Array): Slices<void> {
    const { columns: k, weight, grid, groupSize, scales, zeros, rule } = this.#p
    const n = this.#n
    const size = g1 - g0
    const block = new Float64Array(size * size)
    for (let i = 0; i < size; i++) block.set(this.#h.factor.subarray((g0 + i) * k + g0, (g0 + i) * k + g1), i * size)
    const current = g0 > 0 && g1 > to ? yield* this.#carried(g0, g1, g0) : carried
    const shift = current === carried ? g0 - from : 0
    const values = new Float64Array(size * n)
    const moved = new Float64Array(size)
    for (let r = 0; r < n; r++) {
      const row = this.#first + r
      if (g0 > 0) {
        for (let t = 0; t < size; t++) {
          let sum = current[(shift + t) * n + r]
          for (let s = 0; s < t; s++) sum -= moved[s] * block[s * size + t]
          moved[t] = sum / block[t * size + t]
        }
      }
      for (let t = 0; t < size; t++) values[t * n + r] = weight[row * k + g0 + t] + moved[t]
      yield
    }
    const perRow = Math.ceil(k / groupSize)
    const params = yield* chooseParams({ grid, values, size, rows: n, factor: block, linalg: this.#s.linalg }, rule)
    for (let r = 0; r < n; r++) {
      const granule = (this.#first + r) * perRow + g0 / groupSize
      scales[granule] = params[r].scale
      zeros[granule] = params[r].zero
    }
  }
}
