import { html, nothing, type TemplateResult } from 'lit-html'
import { chosenFiles, type FoundFile } from '../model/dropped-files.js'

/** Buttons that open the browser's own dialogs: a keyboard and a screen reader know them. */
export function fileButtons({ id, onFiles, accept, files = 'Choose files', folder, kind = 'main' }: { readonly id: string; readonly onFiles: (found: readonly FoundFile[]) => void; readonly accept?: string; readonly files?: string; readonly folder?: string; readonly kind?: 'main' | 'quiet' }): TemplateResult {
  const onChange = (event: Event): void => {
    if (!(event.target instanceof HTMLInputElement) || event.target.files === null) return
    const found = chosenFiles(event.target.files)
    // The same file again is a choice too.
    event.target.value = ''
    if (found.length > 0) onFiles(found)
  }
  const open = (name: string) => (): void => document.getElementById(name)?.click()
  return html`
    <input class="unseen" type="file" id=${id} multiple tabindex="-1" aria-label=${files} accept=${accept ?? nothing} @change=${onChange} />
    <button type="button" class=${kind} id=${`${id}-button`} @click=${open(id)}>${files}</button>
    ${folder === undefined
      ? nothing
      : html`<input class="unseen" type="file" id=${`${id}-folder`} multiple webkitdirectory tabindex="-1" aria-label=${folder} @change=${onChange} /><button type="button" class="quiet" @click=${open(`${id}-folder`)}>${folder}</button>`}
  `
}
