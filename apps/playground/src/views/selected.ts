import { html, nothing, type TemplateResult } from 'lit-html'
import { formatBytes } from '@lowbit/report'
import type { Controller } from '../controller.js'
import type { Variant, ModelState } from '../state.js'
import { answersView } from './answers.js'
import { takeHomeView } from './take-home.js'

/** What a variant is like, and how to take it home. */
export function selectedView(controller: Controller, { files, labels }: Extract<ModelState, { readonly status: 'open' }>): TemplateResult | typeof nothing {
  const variant = controller.store.state.variants.find((v) => v.id === controller.store.state.selected)
  if (variant?.result === undefined) return nothing
  const { result } = variant
  return html`
    ${takeHomeView(controller, files.name, { ...variant, result })}
    ${answersView({ ...variant, result }, labels)}
    <section aria-labelledby="report-title">
      <h2 id="report-title">${variant.name}, looked at closely</h2>
      <p class="soft">Made in ${(result.milliseconds / 1000).toFixed(1)} s, compared on ${result.report.comparison?.batches ?? 0} ${variant.data === undefined ? 'made-up samples, which only show that both run: add samples of your own to see what it costs' : 'of your samples'}. ${formatBytes(result.report.sizeAfter)}.</p>
      <lowbit-report .data=${dataOf(result)}></lowbit-report>
    </section>
  `
}

/** One object a result: the element draws again only for another one. */
const shown = new WeakMap<object, object>()

function dataOf(result: NonNullable<Variant['result']>): object {
  const known = shown.get(result)
  if (known !== undefined) return known
  const made = { report: result.report, details: result.details, level: 3 }
  shown.set(result, made)
  return made
}
