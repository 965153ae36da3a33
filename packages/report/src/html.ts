import type { Comparison, Report } from '@lowbit/core'
import type { ReportDetails } from './details.js'
import { escapeText } from './escape.js'
import { REPORT_STYLE } from './style.js'
import { reportView } from './view.js'

const PAGE_STYLE = `:root{color-scheme:light dark}body{margin:0;background:#fff}@media (prefers-color-scheme:dark){body{background:#14161b}}main{max-width:62rem;margin:0 auto;padding:2rem 1rem 4rem}`

/** The report as one page that needs nothing else: no scripts, no links. What `<lowbit-report>` shows. */
export function reportHtml(report: Report, details: ReportDetails, comparison: Comparison | undefined, title: string): string {
  const whole = comparison === undefined ? report : { ...report, comparison }
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeText(title)}</title><style>${PAGE_STYLE}${REPORT_STYLE}</style></head>
<body><main class="lowbit-report">${reportView(whole, details, { title })}</main></body></html>
`
}
