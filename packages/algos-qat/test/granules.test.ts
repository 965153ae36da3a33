import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { granuleIndex, paramShape, referenceOps, type Granularity } from '@lowbit/core'
import { granules } from '../src/granules.js'
import { ste, VERSION } from '../src/index.js'

const { ops } = referenceOps()

const cases = fc
  .tuple(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }), fc.constantFrom('tensor', 'channel', 'group'), fc.nat(2), fc.integer({ min: 1, max: 6 }))
  .map(([shape, kind, axis, size]): { shape: number[]; granularity: Granularity } => {
    const at = axis % shape.length
    return { shape, granularity: kind === 'tensor' ? { kind } : kind === 'channel' ? { kind, axis: at } : { kind: 'group', axis: at, size } }
  })

describe('granules', () => {
  it('view and unview are inverse, and sums over a granule are those of its elements, for any shape, axis and size', () => {
    fc.assert(fc.property(cases, ({ shape, granularity }) => {
      const count = shape.reduce((a, b) => a * b, 1)
      const x = ops.constant(Float32Array.from({ length: count }, (_, i) => i + 1), shape)
      const g = granules(ops, granularity, shape)
      expect([...g.unview(g.view(x)).data]).toEqual([...x.data])
      const sums = g.grid(ops.sum(g.view(x), g.axes, true))
      const grid = paramShape(granularity, shape)
      expect(sums.shape).toEqual(grid)
      const want = new Float64Array(sums.data.length)
      const sizes = new Float64Array(sums.data.length)
      const of = granuleIndex(granularity, shape)
      x.data.forEach((v, i) => {
        want[of(i)] += v
        sizes[of(i)]++
      })
      expect([...sums.data]).toEqual([...want])
      const counted = ops.add(ops.mul(sums, ops.constant(0)), g.counts())
      expect([...counted.data]).toEqual([...sizes])
      const spread = g.unview(ops.add(ops.mul(g.view(x), ops.constant(0)), g.spread(sums)))
      expect([...spread.data]).toEqual([...x.data].map((_, i) => want[of(i)]))
    }))
  })

  it('name an axis that is not there', () => {
    expect(() => granules(ops, { kind: 'channel', axis: 2 }, [3, 4])).toThrow(/LOWBIT_SHAPE.*axis 2/)
  })
})

it('carries its own version', () => {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(manifest).toMatchObject({ version: VERSION, name: ste().name })
})
