import { html, type TemplateResult } from 'lit-html'
import type { FailureSentence } from '../lab/messages.js'

/** What went wrong, and what to do. */
export function failureView(title: string, { message, code }: FailureSentence): TemplateResult {
  return html`<div class="failure" role="alert"><strong>${title}</strong><p>${message}</p>${code === undefined ? '' : html`<small>${code}</small>`}</div>`
}
