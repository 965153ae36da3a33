import { formatBytes, tableHtml, folded } from '@lowbit/report'
import { html, nothing, type TemplateResult } from 'lit-html'
import { guard } from 'lit-html/directives/guard.js'
import { unsafeHTML } from 'lit-html/directives/unsafe-html.js'
import type { ChatState, OpenedModel } from '../chat/chat-state.js'
import { KEEPINGS } from '../chat/keepings.js'
import type { Controller } from '../controller.js'
import { failureView } from './failure.js'
import { fileButtons } from './file-buttons.js'

/** A language model: what it holds, what each size costs, and a chat with it. */
export function chatView(controller: Controller, chat: ChatState): TemplateResult {
  const { opened, status, doing, failure } = chat
  if (opened === undefined) {
    return failure === undefined
      ? html`<section><h2>Opening the model</h2><p>${doing ?? ''}</p><progress aria-label="Reading weights"></progress></section>`
      : html`<section>${failureView('The model could not be opened', failure)}<button class="quiet" @click=${() => controller.close()}>Choose another model</button></section>`
  }
  return html`
    <section aria-labelledby="lm-title">
      <h2 id="lm-title">What is inside</h2>
      <dl class="facts">
        <div><dt>Parameters</dt><dd>${count(opened.parameters)}</dd></div>
        <div><dt>File</dt><dd>${formatBytes(opened.fileBytes)}</dd></div>
        <div><dt>Layers × width</dt><dd>${opened.layers} × ${opened.width}</dd></div>
        <div><dt>Words it knows</dt><dd>${opened.vocabulary}</dd></div>
        <div><dt>Context</dt><dd>${opened.context} tokens</dd></div>
        <div><dt>Runs on</dt><dd>${opened.engine}</dd></div>
      </dl>
      ${guard([opened], () => html`<div class="lowbit-report">${unsafeHTML(matrices(opened))}</div>`)}
    </section>
    ${measuresView(controller, chat)}
    <section aria-labelledby="chat-title" class="chat">
      <h2 id="chat-title">${opened.canChat ? 'Talk with it' : 'Begin a text, it goes on'}</h2>
      <div class="log" role="log" aria-live="off" tabindex="0" aria-label="Conversation">${chat.messages.map((m) => html`<div class=${`bubble ${m.role}`}><span class="unseen">${m.role === 'user' ? 'You:' : 'The model:'}</span>${m.content}${m.note === undefined ? nothing : html`<small>${m.note}</small>`}</div>`)}</div>
      ${failure === undefined ? nothing : failureView('That did not work', failure)}
      ${opened.canText ? formView(controller, chat) : html`<p class="soft">The file has no tokenizer, so there is no text to talk with.</p>`}
      <p class="soft" id="chat-state">${status === 'busy' || status === 'opening' ? doing : ''}</p>
    </section>
  `
}

function formView(controller: Controller, { status, opened }: ChatState): TemplateResult {
  const send = (event: Event): void => {
    event.preventDefault()
    const text = document.getElementById('chat-text')
    if (!(text instanceof HTMLTextAreaElement) || text.value.trim() === '' || status !== 'ready') return
    controller.chat?.ask(text.value.trim())
    text.value = ''
  }
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && !event.shiftKey) send(event)
  }
  return html`<form @submit=${send}>
    <label for="chat-text" class="unseen">Your text</label>
    <textarea id="chat-text" rows="2" placeholder=${opened?.canChat === true ? 'Say something' : 'Once upon a time'} @keydown=${onKey}></textarea>
    ${status === 'busy' ? html`<button type="button" class="quiet" @click=${() => controller.chat?.stop()}>Stop</button>` : html`<button class="main" ?disabled=${status !== 'ready'}>Send</button>`}
  </form>`
}

function measuresView(controller: Controller, { measures, keeping, status, textName }: ChatState): TemplateResult {
  const isReady = status === 'ready'
  return html`
    <section aria-labelledby="measures-title">
      <h2 id="measures-title">What each size costs</h2>
      <p class="soft">Perplexity is how surprised the model is by ${textName}: lower is better. Speed is measured in this tab.</p>
      <table class="variants">
        <caption class="unseen">Ways of keeping the weights</caption>
        <thead><tr><th scope="col">Weights</th><th scope="col">In memory</th><th scope="col">Perplexity</th><th scope="col">Tokens a second</th><th scope="col"><span class="unseen">What to do</span></th></tr></thead>
        <tbody>
          ${KEEPINGS.map((k) => {
            const measure = measures.find((m) => m.keeping === k.id)
            const isOn = k.id === keeping
            return html`<tr class=${isOn ? 'selected' : ''}>
              <th scope="row"><span class="name">${k.title}</span><small>${k.about}</small></th>
              ${measure?.failure === undefined
                ? html`<td data-label="In memory"><span class="n">${measure?.bytes === undefined ? '–' : formatBytes(measure.bytes)}</span></td><td data-label="Perplexity"><span class="n">${measure?.perplexity?.toFixed(3) ?? '–'}</span></td><td data-label="Tokens a second"><span class="n">${measure?.tokensPerSecond?.toFixed(0) ?? '–'}</span></td>`
                : html`<td colspan="3" class="state"><span class="why">${measure.failure.message}</span></td>`}
              <td class="actions">
                ${isOn
                  ? html`<button class="small main" ?disabled=${!isReady} aria-label=${`Measure ${k.title}`} @click=${() => void controller.chat?.measure()}>Measure</button>`
                  : html`<button class="small quiet" ?disabled=${!isReady} aria-label=${`Load with ${k.title}`} @click=${() => void controller.chat?.open(k.id)}>Load</button>`}
              </td>
            </tr>`
          })}
        </tbody>
      </table>
      <div class="row">${fileButtons({ id: 'text-file', files: 'Measure on another text', accept: '.txt,.md,text/plain', kind: 'quiet', onFiles: ([first]) => controller.chat?.measureOn(first.file) })}</div>
    </section>
  `
}

function matrices({ matrices: list }: OpenedModel): string {
  return folded(`All ${list.length} matrices`, tableHtml('Matrices, as in the file and as they are run', ['matrix', '#shape', 'in the file', 'in memory', '#bytes'], list.map((m) => [m.name, m.shape.join(' × '), m.stored, m.held, formatBytes(m.bytes)])))
}

function count(n: number): string {
  return n >= 1e9 ? `${(n / 1e9).toFixed(1)} billion` : n >= 1e6 ? `${(n / 1e6).toFixed(0)} million` : `${(n / 1e3).toFixed(0)} thousand`
}
