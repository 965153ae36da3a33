import type { Distribution } from './details.js'
import { escapeText } from './escape.js'
import { shorten } from './table.js'

/** A bar of the per-site chart. */
export interface Bar {
  readonly name: string
  readonly value: number
}

const WIDTH = 900
const BAR_HEIGHT = 22
const LABELS = 330
const VALUES = 60
/** Characters of a label that fit before the bars. */
const LABEL_CHARACTERS = 46
const BLUE = '#3b6ea5'
const RED = '#b3261e'
const GREY = '#8a8a8a'

/** Horizontal bars with their names and values, as SVG. They begin at 0; values below it, and infinite ones, are drawn at the ends. */
export function barChart(bars: readonly Bar[], unit: string): string {
  const largest = Math.max(1e-9, ...bars.map((b) => (Number.isFinite(b.value) ? b.value : 0)))
  const room = WIDTH - LABELS - VALUES
  const rows = bars.map(({ name, value }, i) => {
    const middle = 24 + (i + 0.5) * BAR_HEIGHT
    const width = room * Math.min(1, Math.max(0, value / largest))
    const label = `<text x="${LABELS - 8}" y="${round(middle + 4)}" text-anchor="end" font-size="11">${escapeText(shorten(name, LABEL_CHARACTERS))}<title>${escapeText(name)}</title></text>`
    return `${label}<rect x="${LABELS}" y="${round(middle - 7)}" width="${round(Number.isNaN(width) ? 0 : width)}" height="14" fill="${BLUE}"/><text x="${round(LABELS + (Number.isNaN(width) ? 0 : width) + 4)}" y="${round(middle + 4)}" font-size="10">${escapeText(numberText(value))}</text>`
  })
  const ticks = niceTicks(0, largest).map((t) => {
    const x = round(LABELS + (t / largest) * room)
    return `<line x1="${x}" y1="18" x2="${x}" y2="${24 + bars.length * BAR_HEIGHT}" stroke="${GREY}" stroke-opacity="0.25"/><text x="${x}" y="14" text-anchor="middle" font-size="10" fill="${GREY}">${escapeText(numberText(t))}</text>`
  })
  return svg(WIDTH, 30 + bars.length * BAR_HEIGHT, `${ticks.join('')}<text x="${WIDTH - 4}" y="14" text-anchor="end" font-size="10" fill="${GREY}">${escapeText(unit)}</text>${rows.join('')}`, `Bars in ${unit}`)
}

/** A distribution as steps whose heights are roots of the counts: tails, which decide about clipping, would not show otherwise. */
export function distributionChart(d: Distribution): string {
  const [width, height, side, top, bottom] = [440, 220, 16, 30, 28]
  const low = Math.min(d.low, d.range?.[0] ?? d.low)
  const high = Math.max(d.high, d.range?.[1] ?? d.high)
  const span = high > low ? high - low : 1
  const x = (value: number): number => round(side + ((value - low) / span) * (width - 2 * side))
  const floor = height - bottom
  const tallest = Math.sqrt(Math.max(1, ...d.counts))
  const y = (count: number): number => round(floor - (Math.sqrt(count) / tallest) * (floor - top))
  const step = (d.high - d.low) / d.counts.length
  const steps = d.counts.map((count, i) => `V${y(count)}H${x(d.low + (i + 1) * step)}`)
  const area = `<path d="M${x(d.low)} ${floor}${steps.join('')}V${floor}Z" fill="${BLUE}" fill-opacity="0.5" stroke="${BLUE}"/>`
  const limits = (d.range ?? []).map((limit) => `<line x1="${x(limit)}" y1="${top - 6}" x2="${x(limit)}" y2="${floor}" stroke="${RED}" stroke-dasharray="4 3"/>`)
  const ticks = niceTicks(low, high).map((t) => `<line x1="${x(t)}" y1="${floor}" x2="${x(t)}" y2="${floor + 4}" stroke="${GREY}"/><text x="${x(t)}" y="${floor + 16}" text-anchor="middle" font-size="9">${escapeText(numberText(t))}</text>`)
  return svg(width, height, `<text x="${side}" y="16" font-size="11">${escapeText(shorten(d.title, 70))}<title>${escapeText(d.title)}</title></text><line x1="${side}" y1="${floor}" x2="${width - side}" y2="${floor}" stroke="${GREY}"/>${area}${limits.join('')}${ticks.join('')}`, d.title)
}

function svg(width: number, height: number, content: string, label: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeText(label)}" font-family="system-ui, sans-serif" fill="#1c1b1f">${content}</svg>`
}

/** Round numbers between two values, five at most. */
export function niceTicks(low: number, high: number): readonly number[] {
  const span = high - low
  if (!(span > 0) || !Number.isFinite(span)) return Number.isFinite(low) ? [low] : []
  const rough = span / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough
  const ticks: number[] = []
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9 && ticks.length < 6; i++) ticks.push(i * step)
  return ticks
}

function numberText(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  return String(Number(value.toPrecision(4)))
}

/** Two digits behind the point are more than a screen shows. */
function round(value: number): number {
  return Math.round(value * 100) / 100
}
