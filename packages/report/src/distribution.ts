import type { Distribution } from './details.js'
import { escapeText } from './escape.js'
import { shorten } from './table.js'
import { niceTicks, numberText, round } from './ticks.js'

const [WIDTH, HEIGHT, SIDE, TOP, BOTTOM] = [440, 200, 16, 14, 26]

/** A distribution as steps whose heights are roots of the counts: tails, which decide about clipping, would not show otherwise. */
export function distributionChart(d: Distribution): string {
  const low = Math.min(d.low, d.range?.[0] ?? d.low)
  const high = Math.max(d.high, d.range?.[1] ?? d.high)
  const span = high > low ? high - low : 1
  const x = (value: number): number => round(SIDE + ((value - low) / span) * (WIDTH - 2 * SIDE))
  const floor = HEIGHT - BOTTOM
  const tallest = Math.sqrt(Math.max(1, ...d.counts))
  const y = (count: number): number => round(floor - (Math.sqrt(count) / tallest) * (floor - TOP))
  const step = (d.high - d.low) / d.counts.length
  const steps = d.counts.map((count, i) => `V${y(count)}H${x(d.low + (i + 1) * step)}`)
  const area = `<path class="area" d="M${x(d.low)} ${floor}${steps.join('')}V${floor}Z"/>`
  const outside = (d.range ?? []).map((limit, i) => {
    const [from, to] = i === 0 ? [x(low), x(limit)] : [x(limit), x(high)]
    return `<rect class="clipped" x="${from}" y="${TOP}" width="${round(Math.max(0, to - from))}" height="${floor - TOP}"/>`
  })
  const limits = (d.range ?? []).map((limit) => `<line class="limit" x1="${x(limit)}" y1="${TOP - 8}" x2="${x(limit)}" y2="${floor}" stroke-dasharray="4 3"/>`)
  const ticks = niceTicks(low, high).map((t) => `<line class="axis" x1="${x(t)}" y1="${floor}" x2="${x(t)}" y2="${floor + 4}"/><text x="${x(t)}" y="${floor + 18}" text-anchor="middle">${escapeText(numberText(t))}</text>`)
  return `<svg class="distribution" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(describeDistribution(d))}">${outside.join('')}${area}<line class="axis" x1="${SIDE}" y1="${floor}" x2="${WIDTH - SIDE}" y2="${floor}"/>${limits.join('')}${ticks.join('')}</svg>`
}

/** What a picture of it shows, in a sentence. */
export function describeDistribution(d: Distribution): string {
  const total = d.counts.reduce((sum, n) => sum + n, 0)
  const reach = d.range === undefined ? '' : `; codes reach ${numberText(d.range[0])} to ${numberText(d.range[1])}`
  const clipped = d.clipped === undefined ? '' : `, ${d.clipped === 0 ? 'nothing is clipped' : `${Number((d.clipped * 100).toPrecision(2))} % are clipped`}`
  return `${shorten(d.title, 90)}: ${total} values from ${numberText(d.low)} to ${numberText(d.high)}${reach}${clipped}`
}

/** Rows of the table behind a chart. */
const ROWS = 12

/** The same as rows of numbers, in a few bins: from, to, values. */
export function distributionRows(d: Distribution): readonly (readonly [string, string, string])[] {
  const rows = Math.min(ROWS, d.counts.length)
  const step = d.counts.length === 0 ? 0 : (d.high - d.low) / d.counts.length
  return Array.from({ length: rows }, (_, r) => {
    const [from, to] = [r, r + 1].map((n) => Math.round((n * d.counts.length) / rows))
    return [numberText(d.low + from * step), numberText(d.low + to * step), String(d.counts.slice(from, to).reduce((sum, n) => sum + n, 0))]
  })
}
