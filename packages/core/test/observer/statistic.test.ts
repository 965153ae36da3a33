import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { isLowbitError } from '../../src/errors.js'
import { statisticMemory, statisticObserver, unfoldConvolution, type ActivationView } from '../../src/observer/index.js'
import { tensor, type HostTensor } from '../../src/tensor.js'

function numbers(shape: readonly number[], seed: number): HostTensor<'float32'> {
  let state = seed | 0
  return tensor('float32', shape, Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >> 8) / 2 ** 22
  }))
}

/** A convolution written out, `[B, C, H, W]` with a weight `[N, C/groups · kh · kw]`. */
function convolve(x: HostTensor<'float32'>, w: readonly number[], n: number, groups: number, [kh, kw]: readonly [number, number], stride: number, pad: number, dilation: number): number[] {
  const [batch = 0, channels = 0, height = 0, width = 0] = x.shape
  const out: number[] = []
  const size = (length: number, k: number): number => Math.floor((length + 2 * pad - dilation * (k - 1) - 1) / stride) + 1
  const perGroup = channels / groups
  for (let b = 0; b < batch; b++) for (let i = 0; i < size(height, kh); i++) for (let j = 0; j < size(width, kw); j++) for (let o = 0; o < n; o++) {
    let sum = 0
    const group = Math.floor(o / (n / groups))
    for (let c = 0; c < perGroup; c++) for (let p = 0; p < kh; p++) for (let q = 0; q < kw; q++) {
      const [y, z] = [i * stride - pad + p * dilation, j * stride - pad + q * dilation]
      if (y < 0 || z < 0 || y >= height || z >= width) continue
      sum += (x.data[((b * channels + group * perGroup + c) * height + y) * width + z] ?? 0) * (w[o * perGroup * kh * kw + (c * kh + p) * kw + q] ?? 0)
    }
    out.push(sum)
  }
  return out
}

describe('unfoldConvolution', () => {
  it('times the weight is the convolution, with strides, padding, dilation and groups', () => {
    fc.assert(fc.property(fc.record({ groups: fc.constantFrom(1, 2), kernel: fc.constantFrom([1, 1] as const, [3, 2] as const, [2, 3] as const), stride: fc.constantFrom(1, 2), pad: fc.constantFrom(0, 1), dilation: fc.constantFrom(1, 2), seed: fc.integer() }), ({ groups, kernel, stride, pad, dilation, seed }) => {
      const x = numbers([2, 4, 6, 7], seed)
      const rowsOut = 4
      const k = (4 / groups) * kernel[0] * kernel[1]
      const w = [...numbers([rowsOut, k], seed + 1).data]
      const want = convolve(x, w, rowsOut, groups, kernel, stride, pad, dilation)
      const got: number[] = []
      unfoldConvolution(x, { kernel, strides: [stride, stride], pads: [pad, pad, pad, pad], dilations: [dilation, dilation] }, (rows, count) => {
        for (let r = 0; r < count; r++) for (let o = 0; o < rowsOut; o++) {
          const group = Math.floor(o / (rowsOut / groups))
          let sum = 0
          for (let c = 0; c < k; c++) sum += (rows[r * k * groups + group * k + c] ?? 0) * (w[o * k + c] ?? 0)
          got.push(sum)
        }
      })
      expect(got.length).toBe(want.length)
      got.forEach((value, i) => expect(Math.abs(value - (want[i] ?? NaN))).toBeLessThan(1e-6))
    }), { numRuns: 40 })
  })
  it('gives the same rows for channels last', () => {
    const x = numbers([1, 3, 4, 5], 3)
    const last = tensor('float32', [1, 4, 5, 3], Float32Array.from({ length: 60 }, (_, i) => x.data[(i % 3) * 20 + Math.floor(i / 3)] ?? NaN))
    const collect = (input: HostTensor<'float32'>, channelsLast: boolean): number[] => {
      const rows: number[] = []
      unfoldConvolution(input, { kernel: [3, 3], pads: [1, 1, 1, 1], channelsLast }, (chunk) => rows.push(...chunk))
      return rows
    }
    expect(collect(last, true)).toEqual(collect(x, false))
  })
  it('refuses a kernel larger than its input, and a wrong rank', () => {
    for (const shape of [[1, 2, 2, 2], [1, 2, 2]]) expect(() => unfoldConvolution(numbers(shape, 1), { kernel: [3, 3] }, () => undefined)).toThrow(expect.objectContaining({ code: 'LOWBIT_SHAPE' }) as Error)
  })
})

describe('statisticObserver, linear', () => {
  const linear: ActivationView = { kind: 'linear' }
  const batches = [numbers([2, 3, 4], 1), numbers([5, 4], 2), numbers([1, 1, 4], 3)]
  const rows = batches.flatMap((x) => Array.from({ length: x.data.length / 4 }, (_, r) => [...x.data.subarray(r * 4, r * 4 + 4)]))
  const run = <S extends Parameters<typeof statisticObserver>[0]>(statistic: S, options = {}) => {
    const observer = statisticObserver(statistic, linear, options)
    for (const x of batches) observer.observe(x)
    return observer.result()
  }
  it('agrees with the definitions over all rows at once', () => {
    const column = (k: number): number[] => rows.map((row) => row[k] ?? NaN)
    for (let k = 0; k < 4; k++) {
      expect(run('absmax-per-channel').data[k]).toBe(Math.max(...column(k).map(Math.abs)))
      expect(run('mean-abs-per-channel').data[k]).toBeCloseTo(column(k).reduce((a, b) => a + Math.abs(b), 0) / rows.length, 5)
      expect(run('mean').data[k]).toBeCloseTo(column(k).reduce((a, b) => a + b, 0) / rows.length, 5)
      for (let j = 0; j < 4; j++) expect(run('gram').data[k * 4 + j]).toBeCloseTo(rows.reduce((sum, row) => sum + (row[k] ?? 0) * (row[j] ?? 0), 0), 6)
    }
    expect(run('gram').rows).toBe(rows.length)
    expect(run('range').min[0]).toBe(Math.min(...rows.flat()))
    expect(run('histogram').count).toBe(rows.length * 4)
    expect([...run('samples', { rows: 7 }).data]).toEqual(rows.slice(0, 7).flat())
  })
  it('has the Gram matrix for the cross-Gram matrix of a model with itself, and not of two models', () => {
    const observer = statisticObserver('cross-gram', linear)
    const other = statisticObserver('cross-gram', linear)
    for (const x of batches) {
      observer.observe(x, x)
      other.observe(x, tensor('float32', x.shape, x.data.map((value) => 2 * value)))
    }
    const gram = run('gram').data
    observer.result().data.forEach((value, i) => expect(value).toBeCloseTo(gram[i] ?? NaN, 6))
    other.result().data.forEach((value, i) => expect(value).toBeCloseTo(2 * (gram[i] ?? NaN), 6))
  })
  it('names what is wrong: NaN, other widths, a missing batch', () => {
    const bad = tensor('float32', [1, 4], Float32Array.of(1, 2, NaN, 4))
    for (const statistic of ['range', 'histogram', 'absmax-per-channel', 'mean', 'gram', 'samples'] as const) {
      let thrown: unknown
      try {
        statisticObserver(statistic, linear, { thing: 'fc1' }).observe(bad)
      } catch (error) {
        thrown = error
      }
      expect(isLowbitError(thrown, 'LOWBIT_NONFINITE') && thrown.message.includes('fc1'), statistic).toBe(true)
    }
    const gram = statisticObserver('gram', linear)
    gram.observe(numbers([2, 4], 1))
    expect(() => gram.observe(numbers([2, 5], 1))).toThrow(expect.objectContaining({ code: 'LOWBIT_SHAPE' }) as Error)
    expect(() => statisticObserver('cross-gram', linear).observe(numbers([2, 4], 1))).toThrow(expect.objectContaining({ code: 'LOWBIT_SHAPE' }) as Error)
    expect(() => statisticObserver('mean', linear).result()).toThrow(expect.objectContaining({ code: 'LOWBIT_CALIBRATION' }) as Error)
  })
})

describe('statisticObserver, convolution', () => {
  const conv: ActivationView = { kind: 'conv', groups: 2, kernel: [3, 3], pads: [1, 1, 1, 1] }
  it('has one Gram matrix a group, and channels where the input has them', () => {
    const x = numbers([2, 4, 5, 5], 7)
    const gram = statisticObserver('gram', conv)
    gram.observe(x)
    const { data, groups, size, rows } = gram.result()
    expect({ groups, size, rows, length: data.length }).toEqual({ groups: 2, size: 18, rows: 50, length: 2 * 18 * 18 })
    // The middle of the kernel sees every value of a channel once: its diagonal is the channel's sum of squares.
    for (let c = 0; c < 4; c++) {
      let squares = 0
      for (let b = 0; b < 2; b++) for (let i = 0; i < 25; i++) squares += (x.data[(b * 4 + c) * 25 + i] ?? 0) ** 2
      const k = (c % 2) * 9 + 4
      expect(data[(Math.floor(c / 2) * 18 + k) * 18 + k]).toBeCloseTo(squares, 4)
    }
    const absmax = statisticObserver('absmax-per-channel', conv)
    absmax.observe(x)
    expect(absmax.result().shape).toEqual([4])
    const mean = statisticObserver('mean', conv)
    mean.observe(x)
    expect(mean.result().shape).toEqual([36])
  })
  it('has a memory formula for each statistic', () => {
    expect(statisticMemory('gram', { columns: 18, groups: 2 })).toBe(2 * 18 * 18 * 8)
    expect(statisticMemory('samples', { columns: 18, groups: 2 }, { rows: 10 })).toBe(36 * 40)
    expect(statisticMemory('histogram', { columns: 18, groups: 2 })).toBe(32768)
    expect(statisticMemory('mean', { columns: 18, groups: 2 })).toBe(288)
  })
})
