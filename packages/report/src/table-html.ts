import { escapeText } from './escape.js'

/** A table as HTML. Headings that begin with # head columns of numbers; the first column names its row. */
export function tableHtml(caption: string, headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const number = headings.map((h) => h.startsWith('#'))
  const head = headings.map((h, i) => `<th scope="col"${number[i] ? ' class="n"' : ''}>${escapeText(h.replace(/^#/, ''))}</th>`).join('')
  const body = rows.map((r) => `<tr>${r.map((cell, i) => (i === 0 && !number[0] ? `<th scope="row">${escapeText(cell)}</th>` : `<td${number[i] ? ' class="n"' : ''}>${escapeText(cell)}</td>`)).join('')}</tr>`).join('')
  return `<div class="scroll" role="region" tabindex="0" aria-label="${escapeText(caption)}"><table><caption>${escapeText(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`
}

/** What is there for those who look for it. */
export function folded(summary: string, content: string): string {
  return `<details><summary>${escapeText(summary)}</summary>${content}</details>`
}
