import { formatBytes, formatDecibels, formatPercent } from '@lowbit/report'
import { html, nothing, type TemplateResult } from 'lit-html'
import { stepText, type Controller } from '../controller.js'
import { variantFacts } from '../options/describe-recipe.js'
import type { Variant } from '../state.js'

/** Decibels that a full bar stands for. */
const FULL = 60

/** Variants side by side: what each costs. */
export function variantsView(controller: Controller, bytes: number): TemplateResult {
  const { variants } = controller.store.state
  if (variants.length === 0) return html`<section aria-labelledby="variants-title"><h2 id="variants-title">What each size costs</h2><p class="empty">Nothing made yet. What you make stands here side by side: its size, how far its answers are from the original’s, how long a run takes in this tab.</p></section>`
  const done = variants.filter((v) => v.result !== undefined)
  const slowest = Math.max(...done.flatMap((v) => [v.result?.report.comparison?.latencyBefore ?? 0, v.result?.report.comparison?.latencyAfter ?? 0]), 1e-9)
  const before = done.map((v) => v.result?.report.comparison?.latencyBefore).filter((t) => t !== undefined)
  const original = before.length === 0 ? undefined : [...before].sort((a, b) => a - b)[Math.floor(before.length / 2)]
  return html`
    <section aria-labelledby="variants-title">
      <h2 id="variants-title">What each size costs</h2>
      <table class="variants">
        <caption class="unseen">Variants of the model, with size, error and time</caption>
        <thead><tr><th scope="col">Variant</th><th scope="col">Size</th><th scope="col">Signal over error</th><th scope="col">A run in this tab</th><th scope="col"><span class="unseen">What to do</span></th></tr></thead>
        <tbody>
          <tr class="original">
            <th scope="row"><span class="name">Original</span></th>
            <td data-label="Size">${meter(1)}<span class="n">${formatBytes(bytes)}</span></td>
            <td data-label="Signal over error"><span class="n soft">exact</span></td>
            <td data-label="A run in this tab">${original === undefined ? html`<span class="n soft">not run yet</span>` : html`${meter(original / slowest)}<span class="n">${milliseconds(original)}</span>`}</td>
            <td></td>
          </tr>
          ${variants.map((v) => rowView(controller, v, bytes, slowest))}
        </tbody>
      </table>
    </section>
  `
}

function rowView(controller: Controller, variant: Variant, bytes: number, slowest: number): TemplateResult {
  const { id, name, status, recipe, result } = variant
  const isSelected = controller.store.state.selected === id
  const remove = html`<button class="quiet small" aria-label=${`Remove ${name}`} @click=${() => controller.remove(id)}>Remove</button>`
  return html`<tr class=${`${status} ${isSelected ? 'selected' : ''}`} data-status=${status}>
    <th scope="row"><span class="name">${name}</span><small>${variantFacts(recipe)}</small></th>
    ${result === undefined ? html`<td colspan="3" class="state">${stateView(variant)}</td>` : figures(result, bytes, slowest)}
    <td class="actions">
      ${status === 'running' || status === 'waiting'
        ? html`<button class="quiet small" aria-label=${`Stop ${name}`} @click=${() => controller.stop(id)}>Stop</button>`
        : html`${status === 'done' ? html`<button class=${isSelected ? 'small main' : 'small quiet'} aria-pressed=${isSelected} aria-label=${`${isSelected ? 'Shown' : 'Show'}: ${name}`} @click=${() => controller.select(id)}>${isSelected ? 'Shown' : 'Show'}</button>` : nothing}${remove}`}
    </td>
  </tr>`
}

function figures({ report }: NonNullable<Variant['result']>, bytes: number, slowest: number): TemplateResult {
  const { comparison: c } = report
  const worst = [...(c?.outputs ?? [])].sort((a, b) => a.sqnr - b.sqnr)[0]
  const ratio = c?.latencyBefore === undefined || c.latencyAfter === undefined ? undefined : c.latencyBefore / c.latencyAfter
  return html`
    <td data-label="Size">${meter(report.sizeAfter / Math.max(1, bytes))}<span class="n">${formatBytes(report.sizeAfter)} <small>${formatPercent(report.sizeAfter / Math.max(1, report.sizeBefore), 1)}</small></span></td>
    <td data-label="Signal over error">${worst === undefined ? html`<span class="n soft">not measured</span>` : html`${meter(worst.sqnr / FULL, quality(worst.sqnr))}<span class="n">${formatDecibels(worst.sqnr)} dB${worst.top1 === undefined ? '' : html` <small>${formatPercent(worst.top1, 0)} same answer</small>`}</span>`}</td>
    <td data-label="A run in this tab">${c?.latencyAfter === undefined ? html`<span class="n soft">not measured</span>` : html`${meter(c.latencyAfter / slowest)}<span class="n">${milliseconds(c.latencyAfter)} <small>${ratio === undefined ? '' : ratio >= 1 ? `${ratio.toFixed(1)}× as fast` : `${(1 / ratio).toFixed(1)}× as slow`}</small></span>`}</td>
  `
}

function stateView({ name, status, progress, failure }: Variant): TemplateResult {
  if (status === 'waiting') return html`<span class="soft">waits for its turn</span>`
  if (status === 'stopped') return html`<span class="soft">stopped</span>`
  if (status === 'failed') return html`<span class="why" role="alert">${failure?.message ?? 'failed'}</span>`
  const { step, done, total } = progress ?? { step: 'opening', done: 0, total: 1 }
  return html`<span>${stepText(step)}${total > 1 ? ` ${done} of ${total}` : ' …'}</span><progress aria-label=${`${name}: ${stepText(step)}`} max=${total} value=${total > 1 ? done : nothing}></progress>`
}

/** A bar beside a figure that says the same. */
function meter(share: number, kind = ''): TemplateResult {
  return html`<span class=${`meter ${kind}`} aria-hidden="true"><i style=${`width:${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%`}></i></span>`
}

function quality(sqnr: number): string {
  return sqnr >= 25 ? 'good' : sqnr >= 12 ? 'fair' : 'poor'
}

function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(1)} ms`
}
