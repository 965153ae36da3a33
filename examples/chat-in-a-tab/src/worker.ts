import { openCausalLm, type CausalLm } from '@lowbit/causal-lm'
import { isLowbitError } from '@lowbit/core'
import { filesInMemory } from '@lowbit/formats/gguf'
import type { Answer, Request } from './messages.js'

let model: CausalLm | undefined
let answering: AbortController | undefined

const say = (answer: Answer): void => {
  postMessage(answer)
}

addEventListener('message', (event: MessageEvent<Request>) => {
  const request = event.data
  if (request.kind === 'stop') answering?.abort()
  else {
    const work = request.kind === 'open' ? open(request.files) : answer(request.messages)
    work.catch((error: unknown) => {
      if (isLowbitError(error, 'LOWBIT_ABORTED')) say({ kind: 'stopped' })
      else say({ kind: 'error', message: error instanceof Error ? error.message : String(error) })
    })
  }
})

async function open(files: readonly File[]): Promise<void> {
  model?.dispose()
  model = undefined
  const [first] = files
  // Of a file only the parts asked for are read, one matrix at a time.
  const input = files.length === 1 && first !== undefined ? first : filesInMemory(Object.fromEntries(files.map((file) => [file.name, file])))
  const opened = await openCausalLm(input, { onProgress: ({ done, total }) => say({ kind: 'progress', done, total }) })
  model = opened
  say({ kind: 'opened', name: opened.name, engine: opened.engine, bytes: opened.matrices.reduce((sum, { bytes }) => sum + bytes, 0), canChat: opened.tokenizer?.chat !== undefined })
}

async function answer(messages: Extract<Request, { kind: 'ask' }>['messages']): Promise<void> {
  if (model === undefined) return
  answering = new AbortController()
  // A model without a template goes on with the last text.
  const prompt = model.tokenizer?.chat === undefined ? String(messages.at(-1)?.content ?? '') : messages
  const generation = model.generate(prompt, { temperature: 0.7, topK: 40, topP: 0.95, signal: answering.signal })
  for await (const { text } of generation) say({ kind: 'text', text })
  const { text, tokens, tokensPerSecond } = await generation.result()
  say({ kind: 'done', text, tokens: tokens.length, tokensPerSecond })
}
