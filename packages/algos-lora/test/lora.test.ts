import { dequantize, int3, mergeAdapter, referenceOps, referenceValues, roundToNearest, type AdapterJob, type HostTensor } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { loftq, lora, lowRank } from '../src/index.js'
import { uniform } from '../src/random.js'

const [ROWS, COLUMNS] = [24, 32]
const random = uniform(5)
const weight: HostTensor<'float32'> = { dtype: 'float32', shape: [ROWS, COLUMNS], data: Float32Array.from({ length: ROWS * COLUMNS }, () => random() - 0.5) }
const quantize = (w: HostTensor<'float32'>): HostTensor<'float32'> => dequantize(roundToNearest(w.data, ROWS, COLUMNS, int3({ group: 16 })))
const job: AdapterJob = { site: { id: 'layers.0.q', rows: ROWS, columns: COLUMNS }, weight, quantize, seed: 3 }

const squares = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0)

describe('low rank', () => {
  it('finds a matrix of that rank, and shares its singular values', () => {
    const r = 3
    const left = Float32Array.from({ length: ROWS * r }, () => random() - 0.5)
    const right = Float32Array.from({ length: r * COLUMNS }, () => random() - 0.5)
    const a = mergeAdapter({ ...weight, data: new Float32Array(ROWS * COLUMNS) }, right, left, 1).data
    const found = lowRank(a, ROWS, COLUMNS, r, 1)
    expect(squares(a, mergeAdapter({ ...weight, data: new Float32Array(ROWS * COLUMNS) }, found.right, found.left, 1).data)).toBeLessThan(1e-10)
    const length = (v: Float32Array, step: number, from: number, count: number): number => Array.from({ length: count }, (_, i) => v[from + i * step] ** 2).reduce((x, y) => x + y, 0)
    for (let i = 0; i < r; i++) expect(length(found.left, r, i, ROWS)).toBeCloseTo(length(found.right, 1, i * COLUMNS, COLUMNS), 5)
  })

  it('leaves less the higher the rank, and nothing at full rank', () => {
    const left = [1, 4, 12, 24].map((r) => {
      const { left: l, right } = lowRank(weight.data, ROWS, COLUMNS, r, 1)
      return squares(weight.data, mergeAdapter({ ...weight, data: new Float32Array(ROWS * COLUMNS) }, right, l, 1).data)
    })
    expect(left).toEqual([...left].sort((a, b) => b - a))
    expect(left[3]).toBeLessThan(1e-9)
    // Singular values fall: the first takes more than its share.
    expect(left[0]).toBeLessThan((squares(weight.data, new Float32Array(ROWS * COLUMNS)) * 23) / 24)
    expect(lowRank(new Float32Array(ROWS * COLUMNS), ROWS, COLUMNS, 2, 1).left.every((v) => v === 0)).toBe(true)
  })
})

describe('lora', () => {
  it('starts as nothing, the same for a seed', () => {
    const { down, up, base } = lora({ rank: 4 }).start(job)
    expect([down.length, up.length, base]).toEqual([4 * COLUMNS, 4 * ROWS, undefined])
    expect(up.every((v) => v === 0)).toBe(true)
    expect(Math.max(...down.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(COLUMNS))
    expect(lora({ rank: 4 }).start(job).down).toEqual(down)
    expect(lora({ rank: 4 }).start({ ...job, seed: 4 }).down).not.toEqual(down)
  })

  it('adds alpha / rank · up · down', () => {
    const { ops } = referenceOps()
    const algorithm = lora({ rank: 2, alpha: 6 })
    const down = Float32Array.from({ length: 2 * COLUMNS }, () => random() - 0.5)
    const up = Float32Array.from({ length: ROWS * 2 }, () => random() - 0.5)
    const x = Float32Array.from({ length: 3 * COLUMNS }, () => random() - 0.5)
    const added = referenceValues(algorithm.forward(ops, ops.constant(x, [3, COLUMNS]), ops.constant(down, [2, COLUMNS]), ops.constant(up, [ROWS, 2])))
    const merged = mergeAdapter({ ...weight, data: new Float32Array(ROWS * COLUMNS) }, down, up, 3).data
    const want = Array.from({ length: 3 * ROWS }, (_, i) => Array.from({ length: COLUMNS }, (__, k) => x[Math.floor(i / ROWS) * COLUMNS + k] * merged[(i % ROWS) * COLUMNS + k]).reduce((a, b) => a + b, 0))
    added.forEach((v, i) => expect(v).toBeCloseTo(want[i], 5))
  })

  it('starts from LoftQ nearer to the float matrix than its base alone, whatever alpha is', () => {
    const alone = squares(weight.data, quantize(weight).data)
    for (const alpha of [4, 16]) {
      const algorithm = lora({ rank: 4, alpha, start: 'loftq' })
      const { down, up, base } = algorithm.start(job)
      const together = mergeAdapter(quantize(base === undefined ? weight : mergeAdapter(weight, base.down, base.up, -algorithm.scale)), down, up, algorithm.scale).data
      expect(squares(weight.data, together)).toBeLessThan(0.75 * alone)
    }
    const error = (iterations: number): number => {
      const start = loftq(weight, quantize, { rank: 4, iterations, scale: 2, seed: 1 })
      return squares(weight.data, mergeAdapter(quantize(mergeAdapter(weight, start.base.down, start.base.up, -2)), start.down, start.up, 2).data)
    }
    expect(error(5)).toBeLessThanOrEqual(error(1))
  })

  it.each([
    ['a rank above a side', lora({ rank: 25 }), job],
    ['LoftQ over codes', lora({ rank: 4, start: 'loftq' }), { site: job.site, seed: 1 }],
    ['LoftQ over floats', lora({ rank: 4, start: 'loftq' }), { site: job.site, weight, seed: 1 }],
  ])('refuses %s', (_, algorithm, given) => {
    expect(() => algorithm.start(given)).toThrow('LOWBIT_ARGUMENT')
  })

  it('refuses options that are none', () => {
    expect(() => lora({ rank: 0 })).toThrow('LOWBIT_ARGUMENT')
    expect(() => lora({ rank: 1.5 })).toThrow('LOWBIT_ARGUMENT')
    expect(() => mergeAdapter(weight, new Float32Array(3), new Float32Array(ROWS), 1)).toThrow('LOWBIT_SHAPE')
  })
})
