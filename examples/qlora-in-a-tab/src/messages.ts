/** What the page asks of the worker. */
export type Request =
  | { readonly kind: 'train'; readonly files: readonly File[]; readonly text: string; readonly steps: number; readonly rank: number }
  | { readonly kind: 'stop' }

/** What the worker answers. */
export type Answer =
  | { readonly kind: 'progress'; readonly what: string; readonly done: number; readonly total: number }
  | { readonly kind: 'step'; readonly step: number; readonly steps: number; readonly loss: number; readonly tokensPerSecond: number; readonly secondsLeft: number }
  | { readonly kind: 'done'; readonly files: readonly { readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> }[]; readonly steps: number }
  | { readonly kind: 'error'; readonly message: string }
