export interface ChatMessage {
  readonly role: string
  readonly content: unknown
  readonly [more: string]: unknown
}

export interface ChatOptions {
  /** End with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean
  readonly tools?: readonly unknown[]
  /** Further variables of the template (`enable_thinking`, `documents`, …). */
  readonly variables?: Readonly<Record<string, unknown>>
  /** The clock that `strftime_now` reads. Default: now. */
  readonly now?: Date
}

/** A conversation to the text a model was trained on. */
export interface ChatTemplate {
  readonly source: string
  /** @throws LOWBIT_ARGUMENT with the template's own words where it refuses the conversation, LOWBIT_LIMIT where it takes too long or writes too much. */
  render(messages: readonly ChatMessage[], options?: ChatOptions): string
}
