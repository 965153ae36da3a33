import { html, nothing, type TemplateResult } from 'lit-html'
import type { Controller } from '../controller.js'
import { THREADS } from '../lab/threads.js'
import { droppedFiles } from '../model/dropped-files.js'
import { chatView } from './chat.js'
import { failureView } from './failure.js'
import { insideView } from './inside.js'
import { landingView } from './landing.js'
import { settingsView } from './settings.js'
import { selectedView } from './selected.js'
import { variantsView } from './variants.js'

/** The whole page: what it shows follows from the state alone. */
export function pageView(controller: Controller): TemplateResult {
  const { model, isDragging, announcement, link, linkFailure } = controller.store.state
  const onDrop = (event: DragEvent): void => {
    event.preventDefault()
    controller.drag(false)
    if (event.dataTransfer !== null) void droppedFiles(event.dataTransfer).then((found) => controller.openFound(found))
  }
  const onOver = (event: DragEvent): void => {
    event.preventDefault()
    controller.drag(true)
  }
  const onLeave = (event: DragEvent): void => {
    if (event.relatedTarget === null) controller.drag(false)
  }
  return html`
    <div class=${`page ${isDragging ? 'dragging' : ''}`} @drop=${onDrop} @dragover=${onOver} @dragleave=${onLeave}>
      <header>
        <a class="brand" href="./" aria-label="lowbit, start again"><img src="./mark.svg" alt="" width="28" height="28" />lowbit</a>
        ${model.status === 'open' || model.status === 'chat'
          ? html`<h1 class="open-model">${model.status === 'open' ? model.files.name : model.name}</h1><button class="quiet" id="another" @click=${() => controller.close()}>Another model</button>`
          : html`<span class="promise">Nothing leaves this tab</span>`}
      </header>
      <main>
        ${linkFailure === undefined ? nothing : failureView('This link holds no settings', linkFailure)}
        ${link === undefined || model.status === 'chat' ? nothing : linkView(controller)}
        ${model.status === 'none' || model.status === 'failed' || model.status === 'opening'
          ? landingView(controller, model)
          : model.status === 'chat'
            ? chatView(controller, model.chat)
            : html`${insideView(model.files.name, model.inspection)} ${settingsView(controller, model.inspection)} ${variantsView(controller, model.inspection.bytes)} ${selectedView(controller, model)}`}
      </main>
      <footer>
        <p>
          ${crossOriginIsolated
            ? html`This page may share memory between threads: models run on ${THREADS === 1 ? 'one here, half of the processors' : `${THREADS} here`}.`
            : html`This page is not cross-origin isolated, so models run on one thread, several times slower on large ones. Serve it with <code>Cross-Origin-Opener-Policy: same-origin</code> and <code>Cross-Origin-Embedder-Policy: require-corp</code>.`}
        </p>
        <p>Files are read in your browser and stay there. The same in a terminal: <code>npx lowbit quantize model.onnx</code></p>
      </footer>
      <div class="unseen" role="status" aria-live="polite">${announcement}</div>
    </div>
  `
}

function linkView(controller: Controller): TemplateResult {
  const { link, model } = controller.store.state
  const summary = link?.summary
  const sizes = summary === undefined ? '' : `They made ${(summary.after / 1e6).toFixed(2)} MB of ${summary.model} (${(summary.before / 1e6).toFixed(2)} MB)${summary.sqnr === undefined ? '' : `, ${summary.sqnr.toFixed(1)} dB over the error`}${summary.top1 === undefined ? '' : `, ${(summary.top1 * 100).toFixed(1)} % with the same top answer`}.`
  return html`<aside class="note" aria-label="Settings from a link"><strong>Settings came with the link.</strong> ${sizes} ${model.status === 'open' ? 'They stand under “Every option”.' : 'Choose a model to try them on.'}</aside>`
}
