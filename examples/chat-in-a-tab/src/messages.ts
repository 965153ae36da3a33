import type { ChatMessage } from '@lowbit/causal-lm'

/** What the page asks of the worker. */
export type Request =
  | { readonly kind: 'open'; readonly files: readonly File[] }
  | { readonly kind: 'ask'; readonly messages: readonly ChatMessage[] }
  | { readonly kind: 'stop' }

/** What the worker answers. */
export type Answer =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'opened'; readonly name: string; readonly engine: string; readonly bytes: number; readonly canChat: boolean }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'done'; readonly text: string; readonly tokensPerSecond: number; readonly tokens: number }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'error'; readonly message: string }
