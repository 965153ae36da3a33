import type { Report } from '@lowbit/core'
import type { ReportDetails } from './details.js'
import { REPORT_STYLE } from './style.js'
import { reportView, type ViewOptions } from './view.js'

/** What a `<lowbit-report>` shows. */
export interface ReportElementData extends ViewOptions {
  readonly report: Report
  readonly details?: ReportDetails
}

/** `<lowbit-report>`: set `data`, and it shows the report in a shadow root of its own. */
export interface ReportElement extends HTMLElement {
  data: ReportElementData | undefined
}

/** Longer tables are for the file: an element stands in a page that must stay quick. */
const ROWS = 400

/**
 * Makes `<lowbit-report>` known to a page, once. The view is that of the page that `reportHtml` writes.
 * ```ts
 * defineReportElement()
 * const element = document.createElement('lowbit-report') as ReportElement
 * element.data = { report, details }
 * ```
 */
export function defineReportElement(name = 'lowbit-report'): void {
  if (customElements.get(name) !== undefined) return
  // Made here: importing the package must work where there are no elements.
  class LowbitReport extends HTMLElement implements ReportElement {
    #data: ReportElementData | undefined
    #root = this.attachShadow({ mode: 'open' })

    get data(): ReportElementData | undefined {
      return this.#data
    }

    set data(data: ReportElementData | undefined) {
      if (data === this.#data) return
      this.#data = data
      this.#root.innerHTML = data === undefined ? '' : `<style>:host{display:block}${REPORT_STYLE}</style><div class="lowbit-report">${reportView(data.report, data.details, { rows: ROWS, ...data })}</div>`
    }
  }
  customElements.define(name, LowbitReport)
}
