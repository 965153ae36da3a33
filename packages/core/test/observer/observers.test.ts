import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { isLowbitError } from '../../src/errors.js'
import { activationParams, entropyThreshold, foldMagnitudes, HistogramObserver, MinMaxObserver, MovingAverageObserver, mseThreshold, percentileMagnitude, PerChannelObserver } from '../../src/observer/index.js'
import { tensor, type HostTensor } from '../../src/tensor.js'

const batch = (...values: number[]): HostTensor<'float32'> => tensor('float32', [values.length], Float32Array.from(values))
const batches = fc.array(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }), { maxLength: 40 }), { minLength: 1, maxLength: 8 }).filter((all) => all.some((values) => values.length > 0))

describe('MinMaxObserver', () => {
  it('sees channels along any axis, in batches of different lengths', () => {
    const observer = new MinMaxObserver({ axis: 1 })
    observer.observe(tensor('float32', [2, 2, 2], Float32Array.of(1, 2, -3, 4, 0, 9, 5, -6)))
    observer.observe(tensor('float32', [1, 2, 3], Float32Array.of(-7, 1, 1, 2, 2, 11)))
    expect([...observer.result().min]).toEqual([-7, -6])
    expect([...observer.result().max]).toEqual([9, 11])
    expect(observer.result().count).toBe(14)
  })
  it('refuses batches whose channels differ', () => {
    const observer = new MinMaxObserver({ axis: 0 })
    observer.observe(batch(1, 2))
    expect(() => observer.observe(batch(1, 2, 3))).toThrow(expect.objectContaining({ code: 'LOWBIT_SHAPE' }) as Error)
  })
})

describe('MovingAverageObserver', () => {
  it('is not min-max: a single outlier counts little', () => {
    const [average, whole] = [new MovingAverageObserver(), new MinMaxObserver()]
    for (const observer of [average, whole]) for (const values of [[-1, 1], [-1, 1], [-100, 1], [-1, 1]]) observer.observe(batch(...values))
    expect(whole.result().min[0]).toBe(-100)
    expect(average.result().min[0]).toBeGreaterThan(-2)
  })
})

describe('HistogramObserver', () => {
  it('counts every value once, inside its range, whatever order batches come in', () => {
    fc.assert(fc.property(batches, (all) => {
      const observer = new HistogramObserver({ bins: 64 })
      for (const values of all) observer.observe(batch(...values))
      const h = observer.result()
      const flat = all.flat()
      expect(h.count).toBe(flat.length)
      expect(h.counts.reduce((a, b) => a + b, 0)).toBe(flat.length)
      expect(h.min).toBe(Math.min(...flat))
      expect(h.max).toBe(Math.max(...flat))
      expect(h.low).toBeLessThanOrEqual(h.min)
      expect(h.high).toBeGreaterThanOrEqual(h.max)
      expect(h.counts.length).toBe(128)
    }))
  })
  it('gives the same counts from one batch and from many whose first holds the largest value', () => {
    const values = Array.from({ length: 500 }, (_, i) => Math.sin(i * 12.9898) * (i + 1))
    const top = values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a))
    const one = new HistogramObserver()
    one.observe(batch(...values, top))
    const many = new HistogramObserver()
    many.observe(batch(top))
    for (const value of values) many.observe(batch(value))
    expect(many.result()).toEqual(one.result())
  })
  it('takes the same bytes after 1 batch and after 200, and doubles its range', () => {
    const observer = new HistogramObserver()
    observer.observe(batch(0.001))
    const { bytes } = observer
    for (let i = 0; i < 200; i++) observer.observe(batch(...Array.from({ length: 50 }, (_, j) => (i + 1) * Math.cos(j))))
    expect(observer.bytes).toBe(bytes)
    expect(Math.log2(observer.result().high / Math.fround(0.001))).toBe(18)
  })
  it('takes a part of a batch for the whole: limits and number exact, the rest close', () => {
    const values = Float32Array.from({ length: 40_000 }, (_, i) => Math.sin(i * 12.9898) * Math.cos(i * 78.233) * (1 + (i % 7)))
    const [full, part, none] = [new HistogramObserver({ bins: 256 }), new HistogramObserver({ bins: 256 }), new HistogramObserver({ bins: 256 })]
    for (let b = 0; b < 4; b++) {
      const some = values.subarray(b * 10_000, (b + 1) * 10_000)
      const whole = { min: some.reduce((a, v) => Math.min(a, v)), max: some.reduce((a, v) => Math.max(a, v)), count: some.length }
      full.observe(tensor('float32', [some.length], some.slice()))
      part.observeSample(some.filter((_, i) => i % 11 === b), whole)
      none.observeSample(some, whole)
    }
    const [want, got] = [full.result(), part.result()]
    expect({ ...got, counts: [] }).toEqual({ ...want, counts: [] })
    expect(got.counts.reduce((a, b) => a + b, 0)).toBeCloseTo(want.count, 6)
    expect(none.result()).toEqual(want)
    // Largest distance of the two distributions, as Kolmogorov and Smirnov measure it.
    let [below, belowPart, distance] = [0, 0, 0]
    for (let i = 0; i < want.counts.length; i++) {
      below += want.counts[i]
      belowPart += got.counts[i]
      distance = Math.max(distance, Math.abs(below - belowPart) / want.count)
    }
    expect(distance).toBeGreaterThan(0)
    expect(distance).toBeLessThan(0.03)
  })
  it('refuses more values than there are, and none of some', () => {
    const observer = new HistogramObserver({ thing: 'conv1' })
    for (const values of [[1, 2, 3], []]) expect(() => observer.observeSample(Float32Array.from(values), { min: 1, max: 3, count: 2 })).toThrow(/conv1/)
    expect(() => observer.observeSample(Float32Array.of(1), { min: 1, max: Infinity, count: 5 })).toThrow(expect.objectContaining({ code: 'LOWBIT_NONFINITE' }) as Error)
  })
  it('folds bins that do not have zero as an edge', () => {
    const folded = foldMagnitudes({ counts: Float64Array.of(1, 2, 3, 4), low: -1.5, high: 2.5, min: -1.2, max: 2.4, count: 10 })
    expect(folded.width).toBe(1)
    expect(folded.counts.reduce((a, b) => a + b, 0)).toBe(10)
  })
})

describe('PerChannelObserver', () => {
  it('gives each channel what it would get alone', () => {
    const observer = new PerChannelObserver(1, () => new HistogramObserver({ bins: 16 }))
    observer.observe(tensor('float32', [2, 2, 2], Float32Array.of(1, 2, -30, 4, 0, 9, 5, -6)))
    observer.observe(tensor('float32', [1, 2, 1], Float32Array.of(-7, 11)))
    const alone = [[1, 2, 0, 9, -7], [-30, 4, 5, -6, 11]].map((values) => {
      const single = new HistogramObserver({ bins: 16 })
      single.observe(batch(...values.slice(0, 4)))
      single.observe(batch(...values.slice(4)))
      return single.result()
    })
    expect(observer.result()).toEqual(alone)
    expect(observer.bytes).toBe(2 * 16 * 16)
  })
})

describe('all observers', () => {
  it.each([['min-max', () => new MinMaxObserver({ thing: 'conv1' })], ['moving average', () => new MovingAverageObserver({ thing: 'conv1' })], ['histogram', () => new HistogramObserver({ thing: 'conv1' })]] as const)('%s refuses NaN and infinity by name, and has no answer to nothing', (_, make) => {
    for (const value of [NaN, Infinity, -Infinity]) {
      let thrown: unknown
      try {
        make().observe(batch(0, 1, value))
      } catch (error) {
        thrown = error
      }
      expect(isLowbitError(thrown, 'LOWBIT_NONFINITE')).toBe(true)
      expect(String(thrown)).toContain('conv1')
      expect(String(thrown)).toContain('element 2')
    }
    expect(() => make().result()).toThrow(expect.objectContaining({ code: 'LOWBIT_CALIBRATION' }) as Error)
  })
})

describe('activationParams', () => {
  const heavy = new HistogramObserver()
  // Random draws of a logistic distribution: gaps between the largest values, as samples have them.
  let state = 7
  heavy.observe(batch(...Array.from({ length: 20000 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    const share = ((state >>> 8) + 0.5) / 2 ** 24
    return Math.log(share / (1 - share))
  })))
  const seen = heavy.result()
  it('gives every method a range of its own', () => {
    const scales = (['minmax', 'percentile', 'entropy', 'mse'] as const).map((method) => activationParams(seen, { dtype: 'uint8', method, percentile: 99 }).scale)
    expect(new Set(scales).size).toBe(4)
    expect(Math.max(...scales)).toBe(scales[0])
  })
  it('keeps the zero point in the middle when symmetric, and 0 inside the range otherwise', () => {
    expect(activationParams(seen, { dtype: 'int8', symmetric: true }).zeroPoint).toBe(0)
    expect(activationParams(seen, { dtype: 'uint8', symmetric: true }).zeroPoint).toBe(128)
    expect(activationParams({ min: Float32Array.of(2), max: Float32Array.of(6), count: 3 }, { dtype: 'uint8' })).toEqual({ dtype: 'uint8', scale: Math.fround(6 / 255), zeroPoint: 0 })
    expect(activationParams({ min: Float32Array.of(-1), max: Float32Array.of(1), count: 3 }, { dtype: 'uint16', symmetric: true }).zeroPoint).toBe(32768)
    expect(activationParams({ min: Float32Array.of(-1), max: Float32Array.of(1), count: 3 }, { dtype: 'int16', symmetric: true }).scale).toBe(Math.fround(2 / 65534))
  })
  it('keeps the whole range for 16 bits where bins are coarser than steps', () => {
    expect(activationParams(seen, { dtype: 'uint16', method: 'mse' })).toEqual(activationParams(seen, { dtype: 'uint16' }))
  })
  it('wants a histogram for anything but min-max', () => {
    expect(() => activationParams({ min: Float32Array.of(-1), max: Float32Array.of(1), count: 2 }, { dtype: 'int8', method: 'entropy' })).toThrow(expect.objectContaining({ code: 'LOWBIT_CALIBRATION' }) as Error)
  })
  it('clips nothing where nothing is to be gained', () => {
    const flat = new HistogramObserver()
    flat.observe(batch(...Array.from({ length: 4096 }, (_, i) => i / 4096)))
    const h = flat.result()
    expect(entropyThreshold(h)).toBeGreaterThan(0.95)
    expect(mseThreshold(h, 127)).toBeGreaterThan(0.95)
    expect(percentileMagnitude(h, 100)).toBe(h.max)
  })
})
