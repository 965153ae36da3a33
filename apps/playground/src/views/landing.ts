import { html, nothing, svg, type TemplateResult } from 'lit-html'
import type { Controller } from '../controller.js'
import { EXAMPLES } from '../examples.js'
import type { ModelState } from '../state.js'
import { failureView } from './failure.js'
import { fileButtons } from './file-buttons.js'

/** Before there is a model. */
export function landingView(controller: Controller, model: ModelState): TemplateResult {
  const isOpening = model.status === 'opening'
  return html`
    <section class="hero">
      <h1>See what each size costs</h1>
      <p class="lead">Drop a neural network. Make it smaller, see what that does to its answers, take it home. It is read in this tab and never uploaded.</p>
      ${model.status === 'failed' ? failureView(`“${model.name}” could not be opened`, model.failure) : nothing}
      <div class="drop" aria-busy=${isOpening}>
        ${stairs()}
        ${isOpening
          ? html`<p class="drop-title">Opening ${model.name} …</p><progress aria-label=${`Opening ${model.name}`}></progress>`
          : html`<p class="drop-title">Drop a model here</p>
              <p class="drop-kinds"><code>.onnx</code> with its data files, <code>.gguf</code>, or a folder</p>
              <div class="row">${fileButtons({ id: 'model-files', onFiles: (found) => void controller.openFound(found), folder: 'Choose a folder' })}</div>`}
      </div>
    </section>
    <section aria-labelledby="examples-title">
      <h2 id="examples-title">Nothing at hand? Take one of these</h2>
      <div class="examples">
        ${EXAMPLES.map(
          (example) => html`<button class="example" ?disabled=${isOpening} @click=${() => void controller.openExample(example.id)}><strong>${example.title}</strong><span>${example.about}</span></button>`,
        )}
      </div>
    </section>
  `
}

/** 32, 16, 8 and 4 bits, as columns of squares. */
function stairs(): TemplateResult {
  const columns = [8, 4, 2, 1].map((squares, i) => Array.from({ length: squares }, (_, j) => svg`<rect x=${i * 34} y=${64 - j * 9} width="26" height="7" rx="2" />`))
  return html`<svg class="stairs" viewBox="0 0 128 72" aria-hidden="true" width="128" height="72">${columns}</svg>`
}
