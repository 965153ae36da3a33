import { barChart, distributionChart, distributionRows, modelExplorerData, REPORT_STYLE, reportHtml, reportView, treemap } from '@lowbit/report'
import type { Report } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { niceTicks } from '../src/ticks.js'

const numbersIn = (svg: string, attribute: string): number[] => [...svg.matchAll(new RegExp(`<rect[^>]* ${attribute}="([^"]*)"`, 'g'))].map((m) => Number(m[1]))
/** Markup that a browser would take for elements. */
const elements = (svg: string): string[] => [...svg.matchAll(/<\/?([a-zA-Z]+)/g)].map((m) => m[1])

describe('bars', () => {
  it('are as long as their values, from 0', () => {
    const bars = barChart([{ name: 'a', value: 40 }, { name: 'b', value: 20 }, { name: 'c', value: 0 }], 'dB')
    expect([...bars.matchAll(/class="bar"[^>]* width="([^"]*)"/g)].map((m) => Number(m[1]))).toEqual([100, 50, 0])
    expect([...bars.matchAll(/class="value">([^<]*)</g)].map((m) => m[1])).toEqual(['40', '20', '0'])
  })

  it('of any values and names lie inside the picture, and names are text', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ name: fc.string({ unit: 'binary' }), value: fc.double() }), { maxLength: 12 }), (bars) => {
        const svg = barChart(bars, 'dB')
        expect(numbersIn(svg, 'width').every((w) => w >= 0 && w <= 100)).toBe(true)
        expect(numbersIn(svg, 'width').length).toBe(2 * bars.length)
        expect(new Set(elements(svg))).toEqual(new Set(['ol', ...(bars.length > 0 ? ['li', 'span', 'svg', 'rect'] : [])]))
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
    const floor = 174
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

describe('a treemap', () => {
  const rects = (svg: string): number[][] => [...svg.matchAll(/<rect x="([^"]*)" y="([^"]*)" width="([^"]*)" height="([^"]*)"/g)].map((m) => m.slice(1).map(Number))

  it('fills the picture with areas that are the values, apart from each other', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 1, maxLength: 40 }), (values) => {
        const found = rects(treemap(values.map((value, i) => ({ name: `t${i}`, value, kind: 'site', remark: '' })), 'x', 900, 300))
        const sorted = [...values].sort((a, b) => b - a)
        const total = values.reduce((a, b) => a + b, 0)
        found.forEach(([x, y, w, h], i) => {
          expect(x).toBeGreaterThanOrEqual(0)
          expect(x + w).toBeLessThanOrEqual(901)
          expect(y + h).toBeLessThanOrEqual(301)
          // A border of half a unit on each side is not area.
          const area = w === 0 || h === 0 ? 0 : (w + 1) * (h + 1)
          if (area > 0) expect(Math.abs(area - (sorted[i] / total) * 270_000)).toBeLessThan(0.02 * (w + h + 2) + 1)
          for (const [u, v, p, q] of found.slice(i + 1)) expect(x + w <= u + 0.02 || u + p <= x + 0.02 || y + h <= v + 0.02 || v + q <= y + 0.02).toBe(true)
        })
      }),
      { numRuns: 50 },
    )
  })

  it('leaves out what has no size, and shows names as text', () => {
    const svg = treemap([{ name: '<b>', value: 3, kind: '"x', remark: '&' }, { name: 'none', value: 0, kind: 'site', remark: '' }], '<i>')
    expect(rects(svg).length).toBe(1)
    expect(new Set(elements(svg))).toEqual(new Set(['svg', 'g', 'rect', 'title', 'text']))
  })
})

describe('the table behind a distribution', () => {
  it('counts every value once', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 200 }), (counts) => {
        const rows = distributionRows({ title: 't', low: -2, high: 5, counts })
        expect(rows.reduce((sum, [, , n]) => sum + Number(n), 0)).toBe(counts.reduce((a, b) => a + b, 0))
        expect([rows[0][0], rows.at(-1)?.[1]]).toEqual(['-2', '5'])
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

  it('is what the element shows, with one style', () => {
    const report = JSON.parse(JSON.stringify({ format: 'qdq', core: '1', plugins: [], options: {}, sites: [], activations: [], transforms: [], skipped: [], warnings: [], sizeBefore: 64, sizeAfter: 16 })) as Report
    expect(reportHtml(report, { weights: [], activations: [] }, undefined, 'm')).toContain(reportView(report, undefined, { title: 'm' }))
    expect(reportHtml(report, { weights: [], activations: [] }, undefined, 'm')).toContain(REPORT_STYLE)
  })

  it('cuts long tables only where it is told to, and says so', () => {
    const site = (i: number) => ({ id: `site-${i}`, op: 'MatMul', kind: 'linear', shape: [4, 4], status: 'float', bytesBefore: 64, bytesAfter: 64 })
    const report = JSON.parse(JSON.stringify({ format: 'qdq', core: '1', plugins: [], options: {}, sites: Array.from({ length: 30 }, (_, i) => site(i)), activations: [], transforms: [], skipped: [], warnings: [], sizeBefore: 64, sizeAfter: 64 })) as Report
    expect(reportView(report)).toContain('site-29')
    expect(reportView(report, undefined, { rows: 10 })).toContain('the first 10 of 30')
    expect(reportView(report, undefined, { rows: 10 })).not.toContain('site-10<')
  })
})

describe('data for Model Explorer', () => {
  it('names nodes by the tensors they make, and leaves out what stayed in float', () => {
    const report = { sites: [{ id: 'a', status: 'quantized', weightSqnr: 40.123, outputSqnr: 31.456 }, { id: 'b', status: 'quantized', weightSqnr: 20 }, { id: 'c', status: 'float' }] }
    expect(modelExplorerData(JSON.parse(JSON.stringify(report)) as Report, new Map([['a', 'conv1_out']]))).toMatchObject({ results: { conv1_out: { value: 31.46 }, b: { value: 20 } }, gradient: [{ stop: 0 }, { stop: 0.5 }, { stop: 1 }] })
  })
})
