import type { FailureSentence } from '../lab/messages.js'

/** What is inside a language model. */
export interface OpenedModel {
  readonly name: string
  readonly format: string
  readonly engine: string
  readonly parameters: number
  readonly layers: number
  readonly width: number
  readonly vocabulary: number
  readonly context: number
  readonly canChat: boolean
  readonly canText: boolean
  readonly fileBytes: number
  readonly matrices: readonly { readonly name: string; readonly shape: readonly number[]; readonly stored: string; readonly held: string; readonly bytes: number }[]
}

/** How a model is kept while it is run. */
export interface Keeping {
  readonly id: string
  readonly title: string
  readonly about: string
}

/** What one way of keeping the weights costs. */
export interface ChatMeasure {
  readonly keeping: string
  readonly bytes?: number
  readonly perplexity?: number
  readonly tokensPerSecond?: number
  readonly tokens?: number
  readonly failure?: FailureSentence
}

export interface ChatState {
  readonly status: 'opening' | 'ready' | 'busy' | 'failed'
  readonly doing?: string
  readonly files: readonly File[]
  readonly opened?: OpenedModel
  readonly keeping: string
  readonly measures: readonly ChatMeasure[]
  readonly messages: readonly { readonly role: 'user' | 'assistant'; readonly content: string; readonly note?: string }[]
  readonly failure?: FailureSentence
  readonly textName: string
}
