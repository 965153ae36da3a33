import { LowbitError } from '@lowbit/core'
import type { ChatMessage, Tokenizer } from '../../tokenizer/index.js'
import type { Sample } from './sample.js'

/** Characters of a line that an error shows. */
const SHOWN = 60

/**
 * Conversations of a `.jsonl` file through the model's template: a line is `{"messages": [{"role", "content"}, …]}`, a list of
 * messages, or `{"text"}`. Only what the assistant says is learned.
 * @param thing the file, for messages
 * @throws LOWBIT_DATA with the number of the line, LOWBIT_ARGUMENT where the model has no template
 */
export function chatSamples(jsonl: string, tokenizer: Tokenizer, thing = 'training data'): readonly Sample[] {
  const samples: Sample[] = []
  jsonl.split('\n').forEach((line, i) => {
    if (line.trim() === '') return
    const where = `${thing}: line ${i + 1}`
    samples.push(sampleOf(parse(line, where), tokenizer, where))
  })
  if (samples.length === 0) throw new LowbitError('LOWBIT_DATA', { thing, found: 'no conversation', expected: 'a JSON object on each line' })
  return samples
}

function parse(line: string, thing: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new LowbitError('LOWBIT_DATA', { thing, found: JSON.stringify(line.slice(0, SHOWN)), expected: 'a JSON object', fix: 'each conversation stands on one line', cause })
  }
}

function sampleOf(value: unknown, tokenizer: Tokenizer, thing: string): Sample {
  if (typeof value === 'object' && value !== null && 'text' in value && typeof value.text === 'string') return { tokens: tokenizer.encode(value.text, { special: false }) }
  const list: unknown = Array.isArray(value) ? value : typeof value === 'object' && value !== null && 'messages' in value ? value.messages : undefined
  if (!Array.isArray(list) || list.length === 0 || !list.every(isMessage)) {
    throw new LowbitError('LOWBIT_DATA', { thing, found: JSON.stringify(value)?.slice(0, SHOWN) ?? 'nothing', expected: '{"messages": [{"role": "user", "content": "…"}, …]} or {"text": "…"}' })
  }
  const answers = list.flatMap((message, i) => (message.role === 'assistant' ? [i] : []))
  if (answers.length === 0) throw new LowbitError('LOWBIT_DATA', { thing, found: 'no message of the assistant', expected: 'at least one: it is what is learned' })
  return conversation(list, answers, tokenizer, thing)
}

function isMessage(value: unknown): value is ChatMessage {
  return typeof value === 'object' && value !== null && 'role' in value && typeof value.role === 'string' && 'content' in value
}

/** The text up to each answer is read, the answer with its end mark is learned. */
function conversation(messages: readonly ChatMessage[], answers: readonly number[], tokenizer: Tokenizer, thing: string): Sample {
  const { chat } = tokenizer
  if (chat === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing, found: 'a conversation for a model without a chat template', expected: 'lines of {"text": "…"}', fix: 'train an instruct model, or give texts' })
  const tokens: number[] = []
  const learned: number[] = []
  const add = (text: string, isLearned: boolean): void => {
    // Templates write the first token themselves where the model wants it.
    const ids = text === '' ? [] : tokenizer.encode(text, { bos: false })
    tokens.push(...ids)
    for (let i = 0; i < ids.length; i++) learned.push(isLearned ? 1 : 0)
  }
  let done = ''
  const whole = (n: number, prompt: boolean): string => chat.render(messages.slice(0, n), { addGenerationPrompt: prompt })
  for (const answer of answers) {
    const [before, after] = [whole(answer, true), whole(answer + 1, false)]
    if (!before.startsWith(done) || !after.startsWith(before)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'a template that writes earlier turns otherwise once the next one is there', expected: 'one that goes on', fix: 'give conversations of one answer' })
    add(before.slice(done.length), false)
    add(after.slice(before.length), true)
    done = after
  }
  return { tokens, learned }
}
