import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { expect } from 'vitest'
import { loadGoldens, runGoldens, type GoldenHandler } from '../../../tools/goldens.js'
import { chatTemplate, type ChatMessage } from '../src/tokenizer/index.js'

interface Arguments {
  readonly messages: readonly ChatMessage[]
  readonly tools: readonly unknown[] | null
  readonly add_generation_prompt: boolean
  readonly bos_token: string
  readonly eos_token: string
}

/** The set fixes `strftime_now` there. */
const NOW = new Date(2026, 2, 9, 7, 5, 4)

const chat: GoldenHandler = async (golden, set) => {
  const source = readFileSync(join(set.folder, 'templates', `${String(golden.params['template'])}.jinja`), 'utf8')
  const { messages, tools, add_generation_prompt: addGenerationPrompt, bos_token: bosToken, eos_token: eosToken, ...variables } = golden.extra['arguments'] as Arguments
  const template = chatTemplate(source, { bosToken, eosToken })
  const render = (): string => template.render(messages, { addGenerationPrompt, variables, now: NOW, ...(tools === null ? {} : { tools }) })
  const { text, error, message } = golden.extra['expect'] as { readonly text?: string; readonly error?: string; readonly message?: string | null }
  if (text !== undefined) expect(render()).toBe(text)
  // A template's own refusal keeps its words. What Python's types refuse (adding a list to a text), this interpreter may print.
  else if (error === 'TemplateError') expect(render).toThrow(message ?? '')
  else {
    try {
      render()
    } catch (thrown) {
      expect(isLowbitError(thrown)).toBe(true)
    }
  }
  return {}
}

const kinds = new Set(loadGoldens('chat-template').cases.map((golden) => String(golden.extra['kind'])))
runGoldens('chat-template', Object.fromEntries([...kinds].map((kind) => [kind, chat])), { kindOf: (golden) => String(golden.extra['kind']) })
