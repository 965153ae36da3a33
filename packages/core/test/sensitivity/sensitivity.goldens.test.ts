import { expect } from 'vitest'
import { cheapestChoices, codeGrid, fisherDiagonal, gridCode, hawqPerturbation, hessianProduct, hutchinson, isLowbitError, rangeParams, weightScheme, type IntegerCode } from '@lowbit/core'
import { goldenNumbers, inputTensor, runGoldens, type GoldenCase, type GoldenResult, type GoldenSet } from '../../../../tools/goldens.js'

const numbers = (set: GoldenSet, golden: GoldenCase, role: string): Float64Array => goldenNumbers(inputTensor(set, golden, role))

function rowsOf(set: GoldenSet, golden: GoldenCase, role: string): Float64Array[] {
  const { shape } = inputTensor(set, golden, role)
  const data = numbers(set, golden, role)
  const width = data.length / shape[0]
  return Array.from({ length: shape[0] }, (_, i) => data.slice(i * width, (i + 1) * width))
}

interface Network {
  readonly dims: readonly number[]
  readonly loss: unknown
  readonly weights: readonly Float64Array[]
}

/** Gradients of the loss of one sample with respect to every layer's weight `[out, in]`: tanh between layers, no bias. */
function sampleGradients({ dims, loss, weights }: Network, x: ArrayLike<number>, target: ArrayLike<number>): Float64Array[] {
  const activations: Float64Array[] = [Float64Array.from(x)]
  const layers = weights.length
  for (let l = 0; l < layers; l++) {
    const input = activations[l]
    const z = Float64Array.from({ length: dims[l + 1] }, (_, o) => input.reduce((sum, v, i) => sum + v * weights[l][o * dims[l] + i], 0))
    activations.push(l === layers - 1 ? z : z.map(Math.tanh))
  }
  const y = activations[layers]
  const top = y.reduce((a, b) => Math.max(a, b))
  const total = y.reduce((sum, v) => sum + Math.exp(v - top), 0)
  let delta = y.map((v, o) => (loss === 'mse' ? (2 * (v - target[o])) / y.length : Math.exp(v - top) / total - (target.length === 1 ? Number(target[0] === o) : target[o])))
  const gradients: Float64Array[] = []
  for (let l = layers - 1; l >= 0; l--) {
    const input = activations[l]
    const d = delta
    gradients[l] = Float64Array.from({ length: weights[l].length }, (_, i) => d[Math.floor(i / dims[l])] * input[i % dims[l]])
    delta = input.map((a, i) => d.reduce((sum, v, o) => sum + v * weights[l][o * dims[l] + i], 0) * (1 - a * a))
  }
  return gradients
}

const mean = (all: readonly Float64Array[]): Float64Array => all[0].map((_, i) => all.reduce((sum, g) => sum + g[i], 0) / all.length)

runGoldens('sensitivity', {
  hutchinson(golden, set) {
    const [n] = inputTensor(set, golden, 'A').shape
    const a = numbers(set, golden, 'A')
    const product = (v: Float64Array): Float64Array => v.map((_, i) => v.reduce((sum, x, j) => sum + a[i * n + j] * x, 0))
    const { samples, running } = hutchinson(product, rowsOf(set, golden, 'probes'))
    // The trace itself is what unit vectors as probes add up to.
    const trace = n * hutchinson(product, Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => Number(i === j)))).trace
    const spread = a.reduce((sum, v, i) => (i % (n + 1) === 0 ? sum : sum + 2 * v * v), 0)
    expect(spread / Math.max(1e-12, Number(golden.params['variance'])) || 1).toBeCloseTo(1, 5)
    return { samples, running, trace }
  },

  curvature(golden, set) {
    const dims = golden.params['dims'] as readonly number[]
    const x = rowsOf(set, golden, 'x')
    const target = rowsOf(set, golden, 'target')
    const weights = dims.slice(1).map((_, l) => numbers(set, golden, `w${l + 1}`))
    const results: Record<string, GoldenResult> = {}
    weights.forEach((w, l) => {
      const perSample = (at: Float64Array): Float64Array[] => x.map((row, s) => sampleGradients({ dims, loss: golden.params['loss'], weights: weights.map((v, i) => (i === l ? at : v)) }, row, target[s])[l])
      const product = hessianProduct((at) => mean(perSample(at)), w)
      const units = w.map((_, i) => i)
      results[`trace_w${l + 1}`] = Array.from(units).reduce((sum, i) => sum + product(w.map((_, j) => Number(i === j)))[i], 0)
      results[`samples_w${l + 1}`] = hutchinson(product, rowsOf(set, golden, `probes_w${l + 1}`)).samples
      results[`fisher_w${l + 1}`] = fisherDiagonal(perSample(w))
      results[`gradient_w${l + 1}`] = mean(perSample(w))
    })
    return results
  },

  hawqPerturbation(golden, set) {
    const traces = golden.params['traces'] as readonly number[]
    const perturbation = traces.flatMap((trace, l) => {
      const [, k] = inputTensor(set, golden, `W${l}`).shape
      const w = numbers(set, golden, `W${l}`)
      return (golden.params['bits'] as readonly number[]).map((bits) => {
        const dtype: IntegerCode = bits === 2 ? 'int2' : bits === 3 ? 'int3' : bits === 4 ? 'int4' : 'int8'
        const grid = codeGrid(weightScheme(dtype), golden.id)
        const quantized = w.map((v, i) => {
          const row = w.subarray(i - (i % k), i - (i % k) + k)
          const params = rangeParams(grid, Math.min(...row), Math.max(...row))
          return (gridCode(grid, params, v) - params.zero) * params.scale
        })
        return hawqPerturbation(trace, w, quantized)
      })
    })
    return { perturbation }
  },

  bitAllocation(golden, set) {
    const cost = rowsOf(set, golden, 'cost')
    const size = rowsOf(set, golden, 'size')
    const layers = cost.map((row, l) => Array.from(row, (c, i) => ({ cost: c, size: size[l][i] })))
    const least = size.reduce((sum, row) => sum + Math.min(...row), 0)
    for (const budget of golden.params['budgets'] as readonly { budgetBits: number; feasible: boolean; exact: readonly number[]; exactCost: number; exactSize: number; greedyCost: number }[]) {
      if (!budget.feasible) {
        let error: unknown
        try {
          cheapestChoices(layers, budget.budgetBits)
        } catch (e) {
          error = e
        }
        expect(isLowbitError(error, 'LOWBIT_ARGUMENT')).toBe(true)
        expect(String(error)).toContain(String(least))
        continue
      }
      const found = cheapestChoices(layers, budget.budgetBits)
      expect(found.choices).toEqual(budget.exact)
      expect(found.cost).toBeCloseTo(budget.exactCost, 6)
      expect(found.size).toBe(budget.exactSize)
      expect(found.cost).toBeLessThanOrEqual(budget.greedyCost + 1e-9)
    }
    return {}
  },
})
