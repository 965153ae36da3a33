import { barChart, distributionChart, reportHtml } from '@lowbit/report'
import type { Report } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { niceTicks } from '../src/charts.js'

const numbersIn = (svg: string, attribute: string): number[] => [...svg.matchAll(new RegExp(`<rect[^>]* ${attribute}="([^"]*)"`, 'g'))].map((m) => Number(m[1]))
/** Markup that a browser would take for elements. */
const elements = (svg: string): string[] => [...svg.matchAll(/<\/?([a-zA-Z]+)/g)].map((m) => m[1])

describe('bars', () => {
  it('are as long as their values, from 0', () => {
    const [full, half, none] = numbersIn(barChart([{ name: 'a', value: 40 }, { name: 'b', value: 20 }, { name: 'c', value: 0 }], 'dB'), 'width')
    expect(half).toBeCloseTo(full / 2, 1)
    expect(none).toBe(0)
    expect(full).toBeGreaterThan(300)
  })

  it('of any values and names lie inside the picture, and names are text', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ name: fc.string({ unit: 'binary' }), value: fc.double() }), { maxLength: 12 }), (bars) => {
        const svg = barChart(bars, 'dB')
        expect(numbersIn(svg, 'width').every((w) => w >= 0 && w <= 900)).toBe(true)
        expect(numbersIn(svg, 'width').length).toBe(bars.length)
        expect(new Set(elements(svg))).toEqual(new Set(['svg', 'text', 'line', ...(bars.length > 0 ? ['rect', 'title'] : [])]))
        expect(svg).not.toMatch(/[\0-\x08]|NaN"/)
      }),
    )
  })
})

describe('distributions', () => {
  it('are one area with the limits of the codes, inside the picture', () => {
    const svg = distributionChart({ title: '<script>', low: -1, high: 3, counts: [1, 4, 9, 0], range: [-2, 2], clipped: 0.1 })
    expect(svg).not.toContain('<script>')
    expect(svg.match(/stroke-dasharray/g)?.length).toBe(2)
    const xs = [...svg.matchAll(/H([\d.]+)/g)].map((m) => Number(m[1]))
    expect(xs.every((x, i) => i === 0 || x > xs[i - 1])).toBe(true)
    expect(xs.at(-1)).toBe(424)
    const ys = [...svg.matchAll(/V([\d.]+)H/g)].map((m) => Number(m[1]))
    // Roots: 1, 2, 3 and 0 of the height.
    const floor = 192
    expect((floor - ys[1]) / (floor - ys[0])).toBeCloseTo(2, 1)
    expect(ys[3]).toBe(floor)
  })

  it.each([['one value', 2, 2], ['nothing seen', 0, 0], ['a wide range', -3e38, 3e38]])('of %s are drawn', (_, low, high) => {
    expect(distributionChart({ title: 't', low, high, counts: [0, 5] })).not.toMatch(/NaN|Infinity/)
  })

  it('have round ticks, few of them, inside', () => {
    fc.assert(
      fc.property(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.double({ min: 1e-6, max: 1e6, noNaN: true }), (low, span) => {
        const ticks = niceTicks(low, low + span)
        expect(ticks.length).toBeLessThanOrEqual(6)
        expect(ticks.every((t) => t >= low - span * 1e-6 && t <= low + span * (1 + 1e-6))).toBe(true)
      }),
    )
  })
})

describe('the page', () => {
  it('needs nothing else and shows names as text', () => {
    const name = '"><img src=x onerror=alert(1)>'
    const site = { id: name, op: 'MatMul', kind: 'linear', shape: [4, 4], status: 'quantized', scheme: { dtype: 'int8', granularity: { kind: 'tensor' }, symmetric: true }, weightSqnr: 40, bytesBefore: 64, bytesAfter: 16 }
    const report = { format: 'qdq', core: '1', plugins: [], options: {}, sites: [site], activations: [], transforms: [], skipped: [{ id: name, reason: name }], warnings: [name], sizeBefore: 64, sizeAfter: 16 }
    const page = reportHtml(JSON.parse(JSON.stringify(report)) as Report, { weights: [{ title: name, low: 0, high: 1, counts: [1, 2] }], activations: [] }, undefined, name)
    expect(page).not.toContain('<img')
    expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/)
    expect(page).toContain('<svg')
  })
})
