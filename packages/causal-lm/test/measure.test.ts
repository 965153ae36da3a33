import { describe, expect, it } from 'vitest'
import { meanOf, quantileOf, rootMeanSquare, shareOf } from '../src/measure/estimate.js'
import { windowsOf } from '../src/measure/windows.js'
import { numbers } from './support/tiny-model.js'

describe('windows', () => {
  it('judge all tokens but the first of each, if they do not overlap', () => {
    expect(windowsOf(10, 4, 4)).toEqual([{ from: 0, first: 1, to: 4 }, { from: 4, first: 5, to: 8 }, { from: 8, first: 9, to: 10 }])
  })

  it('leave out a last token that nothing stands before', () => {
    expect(windowsOf(9, 4, 4)).toHaveLength(2)
  })

  it('judge each token once, with at least window − stride before it, if they overlap', () => {
    for (const [tokens, window, stride] of [[100, 16, 4], [37, 10, 3], [12, 12, 1], [5, 8, 8], [20, 8, 7]] as const) {
      const windows = windowsOf(tokens, window, stride)
      const judged = windows.flatMap(({ first, to }) => Array.from({ length: to - first }, (_, i) => first + i))
      if (stride < window) expect(judged).toEqual(Array.from({ length: tokens - 1 }, (_, i) => i + 1))
      for (const { from, first, to } of windows) {
        expect(to - from).toBeLessThanOrEqual(window)
        if (from > 0) expect(first - from).toBeGreaterThanOrEqual(Math.min(window - stride, 1))
      }
      expect(windows[windows.length - 1].to).toBe(tokens)
    }
  })

  it.each([[4, 5], [1, 1], [4, 0], [4.5, 2]])('of %d every %d are refused', (window, stride) => {
    expect(() => windowsOf(20, window, stride)).toThrow('LOWBIT_ARGUMENT')
  })
})

describe('error bars', () => {
  /** How far figures from many samples lie apart, against the error that each of them states. */
  function calibration(estimate: (values: Float64Array) => { readonly value: number; readonly error: number }, draw: () => number): number {
    const results = Array.from({ length: 300 }, () => estimate(Float64Array.from({ length: 400 }, draw)))
    const mean = results.reduce((sum, { value }) => sum + value, 0) / results.length
    const spread = Math.sqrt(results.reduce((sum, { value }) => sum + (value - mean) ** 2, 0) / results.length)
    return results.reduce((sum, { error }) => sum + error, 0) / results.length / spread
  }

  it('say how far a figure would lie from itself on another text', () => {
    const random = numbers(11)
    const skewed = (): number => random() ** 3
    // 300 repetitions know a spread to 4 %; the quantile's own error is rougher.
    expect(calibration(meanOf, skewed)).toBeCloseTo(1, 0.7)
    expect(calibration(rootMeanSquare, skewed)).toBeCloseTo(1, 0.7)
    expect(calibration((values) => shareOf(values.filter((v) => v > 0.3).length, values.length), skewed)).toBeCloseTo(1, 0.7)
    const ratio = calibration((values) => quantileOf(values.slice().sort(), 0.9), skewed)
    expect(ratio).toBeGreaterThan(0.7)
    expect(ratio).toBeLessThan(1.4)
  })

  it('find quantiles between neighbours', () => {
    expect(quantileOf(Float64Array.of(0, 1, 2, 3, 4), 0.5).value).toBe(2)
    expect(quantileOf(Float64Array.of(0, 10), 0.99).value).toBeCloseTo(9.9, 10)
    expect(quantileOf(Float64Array.of(3), 0.999)).toEqual({ value: 3, error: 0 })
  })
})
