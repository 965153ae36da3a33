import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { LowbitError } from '@lowbit/core'
import { strftime } from './strftime.js'

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
  /**
   * Messages, tools and variables are copied as JSON first: a template sees data, never objects of the program.
   * @throws LOWBIT_ARGUMENT with the template's own words where it refuses the conversation, LOWBIT_LIMIT where it takes too long or writes too much.
   */
  render(messages: readonly ChatMessage[], options?: ChatOptions): string
}

export interface ChatTokens {
  /** Spelling of the first token of a text; empty if there is none. */
  readonly bosToken?: string
  readonly eosToken?: string
}

/** What a template may take. Templates in use make some thousand steps a message and a few kilobytes. */
export const TEMPLATE_LIMITS = {
  sourceLength: 1 << 20,
  steps: 2_000_000,
  milliseconds: 5_000,
  textLength: 1 << 24,
  items: 100_000,
  nesting: 200,
} as const

type Program = ReturnType<typeof parse>
type Value = ReturnType<Interpreter['run']>

/** An interpreter that counts: a template of a stranger's file must end. */
class Bounded extends Interpreter {
  #steps = 0
  #depth = 0
  readonly #end = performance.now() + TEMPLATE_LIMITS.milliseconds

  override evaluate(...args: Parameters<Interpreter['evaluate']>): Value {
    if (++this.#steps > TEMPLATE_LIMITS.steps || ((this.#steps & 1023) === 0 && performance.now() > this.#end)) throw limit(`more than ${TEMPLATE_LIMITS.steps} steps or ${TEMPLATE_LIMITS.milliseconds / 1000} s`)
    if (++this.#depth > TEMPLATE_LIMITS.nesting) throw limit(`calls nested more than ${TEMPLATE_LIMITS.nesting} deep`)
    // `first` of an empty list gives nothing at all, whatever the type says; its value is `undefined`, which this statement evaluates to.
    const result = (super.evaluate(...args) as Value | undefined) ?? super.evaluate(undefined, args[1])
    this.#depth--
    expectSmall(result.value)
    return result
  }
}

function expectSmall(value: unknown): void {
  if (typeof value === 'string' && value.length > TEMPLATE_LIMITS.textLength) throw limit(`a text of ${value.length} characters`)
  if (Array.isArray(value) && value.length > TEMPLATE_LIMITS.items) throw limit(`a list of ${value.length} items`)
}

const limit = (found: string): LowbitError => new LowbitError('LOWBIT_LIMIT', { thing: 'chat template', found, expected: 'a template that ends soon', fix: 'pass a prompt without the template' })

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop]
  const count = Math.max(0, Math.ceil((to - from) / step))
  if (!(count <= TEMPLATE_LIMITS.items)) throw limit(`range of ${count}`)
  return Array.from({ length: count }, (_, i) => from + i * step)
}

/** What a template says against a conversation, in its own words. */
class Refusal extends Error {}

/**
 * A chat template (Jinja, as in `tokenizer_config.json` and GGUF metadata), parsed. It has no access to anything but its variables.
 * @throws LOWBIT_FORMAT if it is no template, LOWBIT_LIMIT if it is too long.
 */
export function chatTemplate(source: string, tokens: ChatTokens = {}): ChatTemplate {
  const program = parseTemplate(source)
  return {
    source,
    render(messages, { addGenerationPrompt = true, tools, variables = {}, now = new Date() } = {}) {
      const environment = new Environment()
      const define = (name: string, value: unknown): void => void environment.set(name, value)
      for (const [name, value] of [['true', true], ['True', true], ['false', false], ['False', false], ['none', null], ['None', null]] as const) define(name, value)
      define('range', range)
      define('raise_exception', (message: unknown) => { throw new Refusal(String(message)) })
      define('strftime_now', (format: unknown) => strftime(now, String(format)))
      const given = { bos_token: tokens.bosToken ?? '', eos_token: tokens.eosToken ?? '', ...variables, messages, tools: tools ?? null, add_generation_prompt: addGenerationPrompt }
      for (const [name, value] of Object.entries(plainData(given))) define(name, value)
      return run(program, environment)
    },
  }
}

/** The template of a model's file, parsed when first used: one that nobody can parse must not keep the model from opening. */
export function templateOfFile(source: string, tokens: ChatTokens = {}): ChatTemplate {
  let parsed: ChatTemplate | undefined
  return { source, render: (messages, options) => (parsed ??= chatTemplate(source, tokens)).render(messages, options) }
}

function parseTemplate(source: string): Program {
  if (source.length > TEMPLATE_LIMITS.sourceLength) throw limit(`${source.length} characters of source`)
  try {
    return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: 'chat template', found: messageOf(cause), expected: 'a Jinja template', cause })
  }
}

function plainData(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  try {
    return JSON.parse(JSON.stringify(value)) as Record<string, unknown>
  } catch (cause) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'conversation', found: 'values that are no plain data', expected: 'texts, numbers, lists and objects', cause })
  }
}

function run(program: Program, environment: Environment): string {
  let text: unknown
  try {
    text = new Bounded(environment).run(program).value
  } catch (cause) {
    if (cause instanceof LowbitError) throw cause
    if (cause instanceof Refusal) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'conversation', found: `the chat template refuses it: ${cause.message}`, cause })
    if (cause instanceof RangeError) throw limit(cause.message)
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'chat template', found: `it fails on this conversation: ${messageOf(cause)}`, fix: 'check the roles and contents, or pass a prompt without the template', cause })
  }
  if (typeof text !== 'string') throw new LowbitError('LOWBIT_FORMAT', { thing: 'chat template', found: 'no text', expected: 'a template that prints' })
  return text
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).slice(0, 500)
