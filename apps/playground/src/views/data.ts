import { formatBytes } from '@lowbit/report'
import { DATA_OPTIONS } from '@lowbit/formats/data'
import { html, nothing, type TemplateResult } from 'lit-html'
import type { Controller } from '../controller.js'
import { droppedFiles } from '../model/dropped-files.js'
import { changedSpec } from '../options/data-spec.js'
import { fieldView } from './field.js'
import { failureView } from './failure.js'
import { fileButtons } from './file-buttons.js'

/** Samples that ranges are learnt from, and that variants are compared on. */
export function dataView(controller: Controller): TemplateResult {
  const { data, dataFailure } = controller.store.state
  const onDrop = (event: DragEvent): void => {
    event.preventDefault()
    event.stopPropagation()
    controller.drag(false)
    if (event.dataTransfer !== null) void droppedFiles(event.dataTransfer).then((found) => controller.addData(found))
  }
  const options = Object.entries(DATA_OPTIONS).filter(([name]) => name !== 'path')
  const bytes = data?.files.reduce((sum, f) => sum + f.size, 0) ?? 0
  return html`
    <div class="data" @drop=${onDrop}>
      <div>
        <h3>Samples</h3>
        ${data === undefined
          ? html`<p>A few of what the model will see: images, arrays in <code>.npz</code>, or texts with <code>tokenizer.json</code>. Sizes are compared on them too; without any, made-up numbers only show that the models run.</p>`
          : html`<p id="data-summary">${data.files.length === 1 ? data.files[0].name : `${data.files.length} files`}, ${formatBytes(bytes)}</p>`}
        ${dataFailure === undefined ? nothing : failureView('Not samples', dataFailure)}
        ${data === undefined
          ? nothing
          : html`<details><summary>How samples become tensors</summary><div class="fields">${options.map(([name, declaration]) => fieldView({ name, declaration, path: [name], value: data.spec, prefix: 'data', onChange: (path, value) => controller.setDataSpec(changedSpec(data.spec, path, value)), lookup: () => undefined }))}</div></details>`}
      </div>
      <div class="row">
        ${fileButtons({ id: 'data-files', onFiles: (found) => controller.addData(found), files: data === undefined ? 'Add samples' : 'Other samples', accept: 'image/*,.npz,.npy,.txt,.md,.json', kind: 'quiet' })}
        ${data === undefined ? nothing : html`<button class="quiet" @click=${() => controller.setData(undefined)}>None</button>`}
      </div>
    </div>
  `
}
