import { describe, expect, it } from 'vitest'
import { referenceOps } from '../../src/reference/ops.js'
import { batchMoments, foldBatchNorm, pooledMoments, updateRunning } from '../../src/training/batch-norm.js'
import { learningCurveSvg } from '../../src/training/curve.js'
import { divergedError, firstNonFinite } from '../../src/training/diagnose.js'

const { ops } = referenceOps()

describe('foldBatchNorm', () => {
  it('computes what the layer and its BatchNorm computed, in both orientations', () => {
    const x = ops.constant(Float32Array.of(1, -2, 0.5, 3, 0, 1), [2, 3])
    const w = ops.constant(Float32Array.of(0.2, -0.5, 1, 0.3, 0.7, -0.1), [3, 2])
    const [gamma, beta, mean, variance, bias] = [[1.5, 0.5], [0.1, -0.2], [0.3, 0.4], [2, 0.25], [0.05, -0.07]].map((v) => ops.constant(Float32Array.from(v)))
    const y = ops.add(ops.matmul(x, w), bias)
    const normed = ops.add(ops.mul(ops.div(ops.sub(y, mean), ops.sqrt(ops.add(variance, ops.constant(1e-3)))), gamma), beta)
    const kn = foldBatchNorm(ops, w, 1, { gamma, beta, mean, variance, epsilon: 1e-3 }, bias)
    const nk = foldBatchNorm(ops, ops.transpose(w), 0, { gamma, beta, mean, variance, epsilon: 1e-3 }, bias)
    const folded = [ops.add(ops.matmul(x, kn.weight), kn.bias), ops.add(ops.matmul(x, nk.weight, false, true), nk.bias)]
    for (const f of folded) f.data.forEach((v, i) => expect(v).toBeCloseTo(normed.data[i], 5))
  })

  it('moves the running variance by the unbiased one', () => {
    const batch = batchMoments(ops, ops.constant(Float32Array.of(1, 3), [2, 1]))
    expect([batch.mean.data[0], batch.variance.data[0], batch.count]).toEqual([2, 1, 2])
    const next = updateRunning(ops, { mean: ops.constant(Float32Array.of(0)), variance: ops.constant(Float32Array.of(0)) }, batch, 0.5)
    expect([next.mean.data[0], next.variance.data[0]]).toEqual([1, 1])
  })
})

describe('pooledMoments', () => {
  it('of batches is the statistic of all their values', () => {
    const batches = [[1000, 1002, 1001], [1010, 1004]]
    const all = batches.flat()
    const mean = all.reduce((a, b) => a + b) / all.length
    const moments = batches.map((values) => {
      const m = values.reduce((a, b) => a + b) / values.length
      return { mean: [m], variance: [values.reduce((a, v) => a + (v - m) ** 2, 0) / values.length], count: values.length }
    })
    const pooled = pooledMoments(moments)
    expect(pooled.mean[0]).toBeCloseTo(mean, 3)
    expect(pooled.variance[0]).toBeCloseTo(all.reduce((a, v) => a + (v - mean) ** 2, 0) / (all.length - 1), 4)
  })

  it('needs batches', () => {
    expect(() => pooledMoments([])).toThrow(/LOWBIT_CALIBRATION/)
  })
})

describe('a training that diverged', () => {
  it('names the step, the layer and the first bad tensor', () => {
    const bad = firstNonFinite([
      { layer: 'conv', what: 'weight', values: [1, 2] },
      { layer: 'dense', what: 'scale', values: [1, NaN, Infinity] },
      { layer: 'dense', what: 'activation', values: [NaN] },
    ])
    expect(bad).toEqual({ layer: 'dense', what: 'scale', index: 1, value: NaN, count: 2, size: 3 })
    expect(divergedError(17, NaN, bad).message).toMatch(/step 17: loss NaN; first in the scale of layer 'dense': element 1 is NaN, 2 of 3/)
    expect(firstNonFinite([{ layer: 'a', what: 'weight', values: [0] }])).toBeUndefined()
  })
})

describe('learningCurveSvg', () => {
  it('breaks the line where a loss is not finite, and escapes names', () => {
    const svg = learningCurveSvg([{ name: '<b>', points: [[0, 4], [1, 2], [2, NaN], [3, 1], [4, 0.5]] }], { title: 'a & b' })
    expect(svg.match(/M[\d.]+ [\d.]+/g)).toHaveLength(2)
    expect(svg).not.toContain('<b>')
    expect(svg).toContain('a &#38; b')
  })

  it('draws nothing rather than NaN for empty curves', () => {
    expect(learningCurveSvg([{ name: 'x', points: [] }])).not.toContain('NaN')
    expect(learningCurveSvg([{ name: 'x', points: [[1, 1]] }])).not.toContain('NaN')
  })

  it('marks round numbers, and keeps the legend beside the plot', () => {
    const svg = learningCurveSvg([{ name: 'the upper one', points: [[0, 3], [740, 0.9]] }, { name: 'low', points: [[0, 2], [740, 0.013]] }], { logarithmic: true, width: 700 })
    const text = [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map(([, t]) => t)
    expect(text).toEqual(expect.arrayContaining(['0', '200', '400', '600', '0.1', '1']))
    expect(text.indexOf('the upper one')).toBeLessThan(text.indexOf('low'))
    const plotEnd = Math.max(...[...svg.matchAll(/[ML]([\d.]+) /g)].map(([, x]) => Number(x)))
    const legend = Number(/x="([\d.]+)"[^>]*>the upper one/.exec(svg)?.[1])
    expect(legend).toBeGreaterThan(plotEnd)
    expect(legend + 5 * 'the upper one'.length).toBeLessThan(700)
  })
})
