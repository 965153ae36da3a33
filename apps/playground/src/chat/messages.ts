import type { ChatMessage } from '@lowbit/causal-lm'
import type { FailureSentence } from '../lab/messages.js'
import type { ChatMeasure, OpenedModel } from './chat-state.js'

/** What the page asks of the worker that runs a language model. */
export type ChatRequest =
  | { readonly type: 'open'; readonly files: readonly File[]; readonly keeping: string }
  | { readonly type: 'measure'; readonly text: string }
  | { readonly type: 'ask'; readonly messages: readonly ChatMessage[] }
  | { readonly type: 'stop' }

export type ChatAnswer =
  | { readonly type: 'progress'; readonly doing: string; readonly done: number; readonly total: number }
  | { readonly type: 'opened'; readonly model: OpenedModel }
  | { readonly type: 'measured'; readonly measure: Omit<ChatMeasure, 'keeping'> }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'done'; readonly text: string; readonly tokens: number; readonly tokensPerSecond: number }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly failure: FailureSentence }
