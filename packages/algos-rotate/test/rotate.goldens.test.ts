import { expect } from 'vitest'
import { hadamardMatrix, hadamardTransform, rotateRows } from '@lowbit/core'
import { spreadOf } from '@lowbit/algos-rotate'
import { goldenNumbers, inputTensor, runGoldens, type GoldenCase, type GoldenSet } from '../../../tools/goldens.js'

const numbers = (set: GoldenSet, golden: GoldenCase, role: string): Float64Array => goldenNumbers(inputTensor(set, golden, role))
const turned = (x: Float64Array, signs: Int8Array, order: number): Float64Array => {
  const out = x.slice()
  rotateRows(out, signs, order)
  return out
}
const rint = (v: number): number => {
  const f = Math.floor(v)
  return v - f === 0.5 ? f + (((f % 2) + 2) % 2) : Math.round(v)
}
const absmax = (x: Float64Array): number => x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)

/** Symmetric, `s = absmax / top`, a scale for each run of `length`. */
function rounded(x: Float64Array, length: number, top: number, bottom = -top): Float64Array {
  return x.map((v, i) => {
    const s = absmax(x.subarray(i - (i % length), i - (i % length) + length)) / top || 1
    return Math.min(Math.max(rint(v / s), bottom), top) * s
  })
}

function product(x: Float64Array, w: Float64Array, k: number): Float64Array {
  const rows = w.length / k
  return Float64Array.from({ length: (x.length / k) * rows }, (_, i) => {
    let sum = 0
    for (let c = 0; c < k; c++) sum += x[Math.floor(i / rows) * k + c] * w[(i % rows) * k + c]
    return sum
  })
}

const squaredError = (a: Float64Array, b: Float64Array): number => a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0)

runGoldens('rotate', {
  hadamard(golden) {
    const order = Number(golden.params['order'])
    const h = hadamardMatrix(order)
    expect(h.every((v) => v === 1 || v === -1)).toBe(true)
    for (let i = 0; i < order; i++) {
      for (let j = 0; j < order; j++) {
        let dot = 0
        for (let k = 0; k < order; k++) dot += h[i * order + k] * h[j * order + k]
        if (dot !== (i === j ? order : 0)) expect.fail(`rows ${i} and ${j} of order ${order}: ${dot}`)
      }
    }
    return { H: h }
  },

  hadamardTransform(golden, set) {
    const order = Number(golden.params['order'])
    const y = numbers(set, golden, 'x')
    hadamardTransform(y, order)
    const back = y.slice()
    hadamardTransform(back, order, true)
    return { y, back }
  },

  rotate(golden, set) {
    const [, k] = inputTensor(set, golden, 'W').shape
    const w = numbers(set, golden, 'W')
    const x = numbers(set, golden, 'x')
    const signs = Int8Array.from(numbers(set, golden, 'signs'))
    const WRotated = turned(w, signs, k)
    const xRotated = turned(x, signs, k)
    const bits = Number(golden.params['bits'])
    const top = 2 ** (bits - 1) - 1
    const quantized = (m: Float64Array): Float64Array => rounded(m, Number(golden.params['groupSize']), top, -top - 1)
    const tolerance = Number(golden.extra['statisticsTolerance'])
    for (const [when, m, rows] of [['Before', w, x], ['After', WRotated, xRotated]] as const) {
      const { kurtosis, peak } = spreadOf(m)
      const found: Record<string, number> = {
        kurtosis,
        peak,
        weightError: squaredError(quantized(m), m),
        outputError: squaredError(product(rows, quantized(m), k), product(rows, m, k)),
        actInt8Error: squaredError(product(rounded(rows, k, 127), m, k), product(rows, m, k)),
      }
      for (const [name, value] of Object.entries(found)) {
        const want = Number(golden.params[`${name}${when}`])
        expect(Math.abs(value / want - 1), `${name}${when}: ${value}, want ${want}`).toBeLessThanOrEqual(tolerance)
      }
    }
    return { WRotated, xRotated, y: product(xRotated, WRotated, k), WQuantized: quantized(WRotated) }
  },

  rotateNorm(golden, set) {
    const [, k] = inputTensor(set, golden, 'W').shape
    const gamma = numbers(set, golden, 'gamma')
    const signs = Int8Array.from(numbers(set, golden, 'signs'))
    const WFolded = turned(numbers(set, golden, 'W').map((v, i) => v * gamma[i % k]), signs, k)
    const xRotated = turned(numbers(set, golden, 'x'), signs, k)
    const normed = xRotated.map((v, i) => v / Math.sqrt(xRotated.subarray(i - (i % k), i - (i % k) + k).reduce((sum, u) => sum + u * u, 0) / k + Number(golden.params['epsilon'])))
    return { WFolded, xRotated, y: product(normed, WFolded, k) }
  },
})
