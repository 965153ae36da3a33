import { expect } from 'vitest'
import { centroidGradients, codedBits, huffmanLengths, initialCentroids, shareWeights, vectorQuantize, vectorValues } from '@lowbit/core'
import { goldenNumbers, inputTensor, runGoldens, type GoldenCase, type GoldenResult, type GoldenSet } from '../../../../tools/goldens.js'

const numbers = (set: GoldenSet, golden: GoldenCase, role: string): Float64Array => goldenNumbers(inputTensor(set, golden, role))
const entropy = (counts: ArrayLike<number>): number => {
  const all = Array.from(counts)
  const total = all.reduce((a, b) => a + b, 0)
  return all.reduce((sum, c) => (c === 0 ? sum : sum - c * Math.log2(c / total)), 0)
}

/** Lengths that belong to a prefix code, and an optimal one: as many bits in all as the golden tree has. */
function checkLengths(golden: GoldenCase, counts: ArrayLike<number>, lengths: Uint8Array, bits: string): void {
  expect(codedBits(counts, lengths)).toBe(golden.params[bits])
  expect(lengths.reduce((sum, l) => (l === 0 ? sum : sum + 2 ** -l), 0)).toBe(1)
  expect(entropy(counts)).toBeCloseTo(Number(golden.params['entropyBits']), 6)
}

runGoldens('cluster', {
  weightSharing(golden, set) {
    const w = numbers(set, golden, 'w')
    const dw = numbers(set, golden, 'dw')
    const clusters = Number(golden.params['k'])
    const live = w.filter((v) => v !== 0)
    numbers(set, golden, 'initialCentroids').forEach((c, i) => expect(initialCentroids(Math.min(...live), Math.max(...live), clusters)[i]).toBeCloseTo(c, 12))
    const shared = shareWeights(w, { clusters, limit: Number(golden.params['limit']) })
    expect(shared.error / Number(golden.params['error'])).toBeCloseTo(1, 3)
    const dCentroids = centroidGradients(dw, shared, w)
    const codeLengths = huffmanLengths(shared.counts)
    checkLengths(golden, shared.counts, codeLengths, 'huffmanBits')
    return {
      index: shared.index,
      centroids: shared.centroids,
      shared: w.map((v, i) => (v === 0 ? 0 : shared.centroids[shared.index[i]])),
      dCentroids,
      trained: shared.centroids.map((c, i) => c - Number(golden.params['learningRate']) * dCentroids[i]),
      counts: shared.counts,
      codeLengths,
    }
  },

  huffman(golden, set) {
    const counts = numbers(set, golden, 'counts')
    const lengths = huffmanLengths(counts)
    checkLengths(golden, counts, lengths, 'totalBits')
    expect(Math.max(...lengths)).toBe(golden.params['maxLength'])
    return { lengths }
  },

  vectorQuantize(golden, set) {
    const { shape } = inputTensor(set, golden, 'W')
    const w = numbers(set, golden, 'W')
    const h = numbers(set, golden, 'hessianDiagonal')
    const vectorLength = Number(golden.params['vectorLength'])
    const results: Record<string, GoldenResult> = {}
    const total = new Float64Array(w.length)
    for (let stage = 0; stage < Number(golden.params['stages']); stage++) {
      const found = vectorQuantize(w.map((v, i) => v - total[i]), shape[1], h, { vectorLength, codebook: numbers(set, golden, `initialCodebook${stage}`), limit: Number(golden.params['limit']) })
      found.errors.forEach((e, i) => expect(e).toBeLessThanOrEqual((found.errors[i - 1] ?? Infinity) + 1e-9))
      vectorValues(found, vectorLength).forEach((v, i) => (total[i] += v))
      results[`index${stage}`] = found.index
      results[`codebook${stage}`] = found.codebook
      results[`errorHistory${stage}`] = found.errors
    }
    const error = w.reduce((sum, v, i) => sum + h[i % shape[1]] * (v - total[i]) ** 2, 0)
    expect(Math.abs(error / Number(golden.params['error']) - 1)).toBeLessThanOrEqual(Number(golden.extra['errorTolerance']))
    return { ...results, dequantized: total }
  },
})
