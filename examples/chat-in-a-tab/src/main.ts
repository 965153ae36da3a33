import type { ChatMessage } from '@lowbit/causal-lm'
import type { Answer, Request } from './messages.js'

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new Error(`no ${id}`)
  return found
}

const files = element('files', HTMLInputElement)
const status = element('status', HTMLDivElement)
const log = element('log', HTMLDivElement)
const form = element('form', HTMLFormElement)
const text = element('text', HTMLTextAreaElement)
const send = element('send', HTMLButtonElement)
const stop = element('stop', HTMLButtonElement)

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
const ask = (request: Request): void => {
  worker.postMessage(request)
}

let messages: ChatMessage[] = []
let current: HTMLDivElement | undefined

function show(kind: 'user' | 'assistant' | 'error', content: string): HTMLDivElement {
  const bubble = document.createElement('div')
  bubble.className = kind
  bubble.textContent = content
  log.append(bubble)
  bubble.scrollIntoView({ block: 'end' })
  return bubble
}

function ready(isReady: boolean): void {
  text.disabled = !isReady
  send.disabled = !isReady
  stop.disabled = true
}

worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
  switch (data.kind) {
    case 'progress':
      status.textContent = `Reading the model: ${data.done} of ${data.total}`
      return
    case 'opened':
      status.textContent = `${data.name}: ${(data.bytes / 1e6).toFixed(0)} MB, ${data.engine}${crossOriginIsolated ? '' : ' (this page is not isolated: one thread)'}`
      text.placeholder = data.canChat ? 'Say something' : 'This model goes on with a text'
      messages = []
      log.replaceChildren()
      return ready(true)
    case 'text':
      if (current !== undefined) current.textContent += data.text
      return
    case 'done':
      messages = [...messages, { role: 'assistant', content: data.text }]
      status.textContent = `${data.tokens} tokens, ${data.tokensPerSecond.toFixed(1)} a second`
      return ready(true)
    case 'stopped':
      // What was said before stays in the conversation as it is shown.
      messages = [...messages, { role: 'assistant', content: current?.textContent ?? '' }]
      return ready(true)
    case 'error':
      show('error', data.message)
      ready(messages.length > 0)
  }
})

files.addEventListener('change', () => {
  ready(false)
  ask({ kind: 'open', files: [...(files.files ?? [])] })
})

form.addEventListener('submit', (event) => {
  event.preventDefault()
  const content = text.value.trim()
  if (content === '') return
  text.value = ''
  show('user', content)
  messages = [...messages, { role: 'user', content }]
  current = show('assistant', '')
  ready(false)
  stop.disabled = false
  ask({ kind: 'ask', messages })
})

text.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey) return
  event.preventDefault()
  form.requestSubmit()
})

stop.addEventListener('click', () => {
  ask({ kind: 'stop' })
})
