import { escapeText } from './escape.js'
import { numberText, round } from './ticks.js'

/** A bar of a chart of bars. */
export interface Bar {
  readonly name: string
  readonly value: number
  /** Beside the name, smaller: an operator, a shape. */
  readonly remark?: string
}

/**
 * Horizontal bars as a list, each with its name and value in text: what an eye compares, a screen reader reads, at any width. Bars
 * begin at 0; values below it, and infinite ones, are drawn at the ends.
 * @param format - of the values
 */
export function barChart(bars: readonly Bar[], label: string, format: (value: number) => string = numberText): string {
  const largest = Math.max(1e-9, ...bars.map((b) => (Number.isFinite(b.value) ? b.value : 0)))
  const rows = bars.map(({ name, value, remark }) => {
    const share = Number.isNaN(value) ? 0 : Math.min(1, Math.max(0, value / largest))
    const small = remark === undefined ? '' : ` <small>${escapeText(remark)}</small>`
    return `<li><span class="name">${escapeText(name)}${small}</span><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect class="track" x="0" y="0" width="100" height="1"/><rect class="bar" x="0" y="0" width="${round(share * 100)}" height="1"/></svg><span class="value">${escapeText(format(value))}</span></li>`
  })
  return `<ol class="bars" aria-label="${escapeText(label)}">${rows.join('')}</ol>`
}
