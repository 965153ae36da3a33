import { measurePerplexity, openCausalLm, type CausalLm } from '@lowbit/causal-lm'
import { isLowbitError, LowbitError } from '@lowbit/core'
import { filesInMemory } from '@lowbit/formats/gguf'
import { expectRoom } from '../lab/memory.js'
import { sentenceOf } from '../lab/sentence.js'
import { schemeOf } from './keepings.js'
import type { ChatAnswer, ChatRequest } from './messages.js'

let model: CausalLm | undefined
let answering: AbortController | undefined

const say = (answer: ChatAnswer): void => postMessage(answer)

/** Positions that perplexity is measured over, at most. */
const SCORED = 512
/** Tokens that speed is measured over. */
const SPEED_TOKENS = 48

addEventListener('message', ({ data: request }: MessageEvent<ChatRequest>) => {
  if (request.type === 'stop') return answering?.abort()
  const work = request.type === 'open' ? open(request.files, request.keeping) : request.type === 'measure' ? measure(request.text) : reply(request.messages)
  work.catch((error: unknown) => {
    if (isLowbitError(error, 'LOWBIT_ABORTED')) say({ type: 'stopped' })
    else say({ type: 'failed', failure: sentenceOf(error) })
  })
})

async function open(files: readonly File[], keeping: string): Promise<void> {
  model?.dispose()
  model = undefined
  const [first] = files
  const bytes = files.reduce((sum, f) => sum + f.size, 0)
  expectRoom(first?.name ?? 'model', bytes)
  if (files.length === 1 && first !== undefined) await expectGguf(first)
  // Of a file only the parts asked for are read, one matrix at a time.
  const input = files.length === 1 && first !== undefined ? first : filesInMemory(Object.fromEntries(files.map((file) => [file.name, file])))
  const weights = schemeOf(keeping)
  const opened = await openCausalLm(input, { ...(weights === undefined ? {} : { weights }), onProgress: ({ done, total }) => say({ type: 'progress', doing: 'Reading weights', done, total }) })
  model = opened
  const { config, matrices } = opened
  say({
    type: 'opened',
    model: {
      name: opened.name,
      format: opened.format,
      engine: opened.engine,
      parameters: matrices.reduce((sum, m) => sum + m.shape.reduce((a, b) => a * b, 1), 0),
      layers: config.layers,
      width: config.width,
      vocabulary: config.vocabulary,
      context: opened.context,
      canChat: opened.tokenizer?.chat !== undefined,
      canText: opened.tokenizer !== undefined,
      fileBytes: bytes,
      matrices: matrices.map(({ name, shape, stored, held, bytes: size }) => ({ name, shape, stored, held, bytes: size })),
    },
  })
}

/** A file of another sort would be read as a checkpoint of llama2.c, and refused in words of that. */
async function expectGguf(file: File): Promise<void> {
  if ((await file.slice(0, 4).text()) === 'GGUF') return
  throw new LowbitError('LOWBIT_FORMAT', { thing: file.name, found: 'a file that does not begin as GGUF does', expected: 'a whole GGUF file', fix: 'download it again, and look at what was downloaded: it may be a page with an error' })
}

async function measure(text: string): Promise<void> {
  if (model === undefined) return
  answering = new AbortController()
  const { signal } = answering
  const bytes = model.matrices.reduce((sum, m) => sum + m.bytes, 0)
  const tokens = model.needTokenizer().encode(text).slice(0, SCORED)
  const session = model.session({ context: Math.min(model.context, SCORED), wanted: Math.min(32, model.context) })
  try {
    const { perplexity, tokens: scored } = await measurePerplexity(session, tokens, { signal, onProgress: (done, total) => say({ type: 'progress', doing: 'Measuring perplexity', done, total }) })
    const generation = model.generate(tokens.slice(0, 16), { temperature: 0, maxTokens: Math.min(SPEED_TOKENS, model.context - 17), signal })
    let made = 0
    const start = performance.now()
    let first = start
    for await (const token of generation) {
      void token
      if (made++ === 0) first = performance.now()
      say({ type: 'progress', doing: 'Measuring speed', done: made, total: SPEED_TOKENS })
    }
    const speed = made > 1 ? ((made - 1) / (performance.now() - first)) * 1000 : 0
    say({ type: 'measured', measure: { bytes, perplexity: perplexity.value, tokensPerSecond: speed, tokens: scored } })
  } finally {
    session.dispose()
  }
}

async function reply(messages: Extract<ChatRequest, { readonly type: 'ask' }>['messages']): Promise<void> {
  if (model === undefined) return
  answering = new AbortController()
  // A model without a template goes on with the last text.
  const prompt = model.tokenizer?.chat === undefined ? String(messages.at(-1)?.content ?? '') : messages
  const generation = model.generate(prompt, { temperature: 0.7, topK: 40, topP: 0.95, signal: answering.signal })
  for await (const { text } of generation) say({ type: 'text', text })
  const { text, tokens, tokensPerSecond } = await generation.result()
  say({ type: 'done', text, tokens: tokens.length, tokensPerSecond })
}
