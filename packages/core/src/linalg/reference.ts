import type { LinAlg } from '../contract/v2/linalg.js'
import { pivotFloor } from './pivot.js'
import { resumable } from './resumable.js'

/** The slow, obvious linear algebra: plain loops in float64, the truth that {@link fastLinAlg} is tested against. */
export const referenceLinAlg: LinAlg = resumable({
  name: '@lowbit/core/reference',

  addGram(x, rows, n, out) {
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) out[i * n + j] += x[r * n + i] * x[r * n + j]
      }
    }
  },

  matmul(a, b, m, k, n) {
    const out = new Float64Array(m * n)
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0
        for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j]
        out[i * n + j] = sum
      }
    }
    return out
  },

  reverseCholesky(h, n) {
    const r = new Float64Array(n * n)
    for (let j = n - 1; j >= 0; j--) {
      let pivot = h[j * n + j]
      for (let k = j + 1; k < n; k++) pivot -= r[j * n + k] ** 2
      if (!(pivot > pivotFloor(h[j * n + j], n))) return { ok: false, pivot: j }
      const diagonal = Math.sqrt(pivot)
      r[j * n + j] = diagonal
      for (let i = 0; i < j; i++) {
        let sum = h[i * n + j]
        for (let k = j + 1; k < n; k++) sum -= r[i * n + k] * r[j * n + k]
        r[i * n + j] = sum / diagonal
      }
    }
    return { ok: true, factor: r }
  },

  invertUpper(r, n) {
    const u = new Float64Array(n * n)
    for (let i = n - 1; i >= 0; i--) {
      for (let j = i; j < n; j++) {
        let sum = i === j ? 1 : 0
        for (let k = i + 1; k <= j; k++) sum -= r[i * n + k] * u[k * n + j]
        u[i * n + j] = sum / r[i * n + i]
      }
    }
    return u
  },
})
