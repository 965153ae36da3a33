import type { Store } from '../state.js'
import type { ChatState } from './chat-state.js'
import type { ChatAnswer, ChatRequest } from './messages.js'
import { SAMPLE_TEXT } from './sample-text.js'

/** A language model that is open in a worker, and what was said to it. */
export class ChatLine {
  readonly #store: Store
  readonly #name: string
  readonly #worker = new Worker(new URL('./chat-worker.ts', import.meta.url), { type: 'module' })
  #text: { readonly name: string; readonly read: () => Promise<string> } = { name: 'a page of plain English', read: () => Promise.resolve(SAMPLE_TEXT) }
  #isMeasuring = false

  constructor(store: Store, name: string, files: readonly File[]) {
    this.#store = store
    this.#name = name
    this.#chat = { status: 'opening', files, keeping: 'file', measures: [], messages: [], textName: this.#text.name }
    this.#worker.addEventListener('message', ({ data }: MessageEvent<ChatAnswer>) => this.#take(data))
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault()
      this.#set({ status: 'failed', failure: { message: `The worker that runs the model stopped: ${event.message === '' ? 'the tab ran out of memory, or it could not be loaded' : event.message}.` } })
    })
  }

  #chat: ChatState

  async open(keeping = 'file'): Promise<void> {
    this.#set({ status: 'opening', doing: 'Reading weights', keeping, messages: [], failure: undefined })
    this.#post({ type: 'open', files: this.#chat.files, keeping })
  }

  async measure(): Promise<void> {
    const text = await this.#text.read()
    this.#isMeasuring = true
    this.#set({ status: 'busy', doing: 'Measuring' })
    this.#post({ type: 'measure', text: text.slice(0, 100_000) })
  }

  measureOn(file: File): void {
    this.#text = { name: file.name, read: () => file.slice(0, 400_000).text() }
    this.#set({ textName: file.name, measures: [] })
  }

  ask(content: string): void {
    const messages = [...this.#chat.messages, { role: 'user', content } as const]
    this.#post({ type: 'ask', messages: messages.map(({ role, content: text }) => ({ role, content: text })) })
    this.#set({ status: 'busy', doing: 'Answering', messages: [...messages, { role: 'assistant', content: '' }] })
  }

  stop(): void {
    this.#post({ type: 'stop' })
  }

  close(): void {
    this.#worker.terminate()
  }

  #take(answer: ChatAnswer): void {
    const { messages, measures, keeping } = this.#chat
    switch (answer.type) {
      case 'progress':
        return this.#set({ doing: `${answer.doing}: ${answer.done} of ${answer.total}` })
      case 'opened':
        this.#set({ status: 'ready', opened: answer.model })
        return this.#store.set({ announcement: `${answer.model.name} is ready.` })
      case 'measured':
        this.#isMeasuring = false
        this.#set({ status: 'ready', measures: [...measures.filter((m) => m.keeping !== keeping), { keeping, ...answer.measure }] })
        return this.#store.set({ announcement: `Measured: perplexity ${answer.measure.perplexity?.toFixed(2) ?? ''}, ${answer.measure.tokensPerSecond?.toFixed(0) ?? ''} tokens a second.` })
      case 'text':
        return this.#set({ messages: withLast(messages, (m) => ({ ...m, content: m.content + answer.text })) })
      case 'done':
        this.#set({ status: 'ready', messages: withLast(messages, (m) => ({ ...m, content: answer.text, note: `${answer.tokens} tokens, ${answer.tokensPerSecond.toFixed(1)} a second` })) })
        return this.#store.set({ announcement: answer.text })
      case 'stopped':
        this.#isMeasuring = false
        return this.#set({ status: 'ready' })
      case 'failed': {
        const isOpen = this.#chat.opened !== undefined && this.#chat.status !== 'opening'
        if (this.#isMeasuring) this.#set({ status: 'ready', measures: [...measures.filter((m) => m.keeping !== keeping), { keeping, failure: answer.failure }] })
        else this.#set({ status: isOpen ? 'ready' : 'failed', failure: answer.failure })
        this.#isMeasuring = false
        return this.#store.set({ announcement: answer.failure.message })
      }
    }
  }

  #post(request: ChatRequest): void {
    this.#worker.postMessage(request)
  }

  #set({ failure, ...change }: Partial<Omit<ChatState, 'failure'>> & { readonly failure?: ChatState['failure'] | undefined }): void {
    const { failure: before, ...rest } = this.#chat
    const kept = failure ?? (change.status === undefined ? before : undefined)
    this.#chat = { ...rest, ...change, ...(kept === undefined ? {} : { failure: kept }) }
    this.#store.set({ model: { status: 'chat', name: this.#name, chat: this.#chat } })
  }
}

type Messages = ChatState['messages']

function withLast(messages: Messages, change: (message: Messages[number]) => Messages[number]): Messages {
  const last = messages.at(-1)
  return last === undefined ? messages : [...messages.slice(0, -1), change(last)]
}
