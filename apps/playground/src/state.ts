import type { Recipe } from '@lowbit/core'
import type { DataFiles, FailureSentence, ModelFiles, OnnxInspection, Progress, VariantResult } from './lab/messages.js'
import type { ChatState } from './chat/chat-state.js'
import type { LinkContent } from './take-home/link.js'

/** The model that is looked at. */
export type ModelState =
  | { readonly status: 'none' }
  | { readonly status: 'opening'; readonly name: string }
  | { readonly status: 'failed'; readonly name: string; readonly failure: FailureSentence }
  | { readonly status: 'open'; readonly files: ModelFiles; readonly inspection: OnnxInspection; readonly labels: readonly string[] }
  | { readonly status: 'chat'; readonly name: string; readonly chat: ChatState }

/** One way to make the model smaller, and what became of it. */
export interface Variant {
  readonly id: number
  /** Equal for equal models, recipes and data. */
  readonly key: string
  readonly name: string
  readonly recipe: Recipe
  readonly data: DataFiles | undefined
  readonly status: 'waiting' | 'running' | 'done' | 'failed' | 'stopped'
  readonly progress?: Progress
  readonly result?: VariantResult
  readonly failure?: FailureSentence
}

export interface State {
  readonly model: ModelState
  readonly data: DataFiles | undefined
  readonly dataFailure: FailureSentence | undefined
  /** What the form says; paths are added where it leaves the page. */
  readonly recipe: Recipe
  readonly preset: string | undefined
  readonly isFormOpen: boolean
  /** Why the form makes no recipe. */
  readonly formFailure: FailureSentence | undefined
  readonly variants: readonly Variant[]
  readonly selected: number | undefined
  /** Said by screen readers. */
  readonly announcement: string
  readonly link: LinkContent | undefined
  readonly linkFailure: FailureSentence | undefined
  readonly isDragging: boolean
}

/** Where the state is, and who hears of changes. */
export class Store {
  #state: State
  readonly #listeners = new Set<() => void>()

  constructor(state: State) {
    this.#state = state
  }

  get state(): State {
    return this.#state
  }

  set(change: Partial<State>): void {
    this.#state = { ...this.#state, ...change }
    for (const listener of this.#listeners) listener()
  }

  /** Changes one variant. */
  setVariant(id: number, change: Partial<Variant>): void {
    this.set({ variants: this.#state.variants.map((v) => (v.id === id ? { ...v, ...change } : v)) })
  }

  listen(listener: () => void): void {
    this.#listeners.add(listener)
  }
}
