import { formatBytes, formatPercent } from '@lowbit/report'
import { html, nothing, type TemplateResult } from 'lit-html'
import type { Controller } from '../controller.js'
import type { OnnxInspection } from '../lab/messages.js'
import { estimate, PRESETS } from '../options/presets.js'
import { dataView } from './data.js'
import { optionsView } from './options.js'

/** What to make, in plain words or option by option. */
export function settingsView(controller: Controller, inspection: OnnxInspection): TemplateResult {
  const { preset, data, isFormOpen, formFailure, variants } = controller.store.state
  const chosen = PRESETS.find((p) => p.id === preset)
  const lacks = chosen?.calibrated === true && data === undefined
  const isBusy = variants.some((v) => v.status === 'running' || v.status === 'waiting')
  return html`
    <section aria-labelledby="settings-title">
      <h2 id="settings-title">Make it smaller</h2>
      <fieldset class="presets">
        <legend class="unseen">How small</legend>
        ${PRESETS.map((p) => {
          const size = estimate(p, inspection)
          return html`<label class=${`preset ${p.id === preset ? 'chosen' : ''}`}>
            <input type="radio" name="preset" value=${p.id} .checked=${p.id === preset} @change=${() => controller.choosePreset(p.id)} />
            <strong>${p.title}</strong>
            <span class="size">≈ ${formatBytes(size)} <small>${formatPercent(size / Math.max(1, inspection.bytes), 0)}</small></span>
            <span class="about">${p.about}</span>
            ${p.calibrated === true ? html`<span class="tag">needs samples</span>` : nothing}
          </label>`
        })}
      </fieldset>
      ${dataView(controller)}
      <details class="every" .open=${isFormOpen} @toggle=${(event: Event) => event.target instanceof HTMLDetailsElement && controller.openForm(event.target.open)}>
        <summary>Every option</summary>
        ${isFormOpen ? optionsView(controller) : nothing}
      </details>
      ${formFailure === undefined ? nothing : html`<p class="problem" role="alert">${formFailure.message}</p>`}
      ${lacks ? html`<p class="problem" id="lacks">This needs a few samples of what the model will see. Add some above, or choose a size that needs none.</p>` : nothing}
      <div class="row">
        <button class="main" id="make" ?disabled=${lacks || formFailure !== undefined} aria-describedby=${lacks ? 'lacks' : nothing} @click=${() => void controller.make()}>Make ${chosen === undefined ? 'this' : `“${chosen.title}”`}</button>
        <button class="quiet" id="make-all" ?disabled=${isBusy} @click=${() => void controller.makeAll()}>Make all sizes and compare</button>
      </div>
    </section>
  `
}
