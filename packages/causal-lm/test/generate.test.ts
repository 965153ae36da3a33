import { describe, expect, it } from 'vitest'
import { int4, isLowbitError, type CacheType, type ErrorCode } from '@lowbit/core'
import { CausalLm, huggingFaceWeights, loadWeights, measureDivergence, measurePerplexity, plainKeeper, type GenerationRecord, type GenerationResult, type Keeper, type LoadedWeights, type ModelMatrix } from '@lowbit/causal-lm'
import { letters } from './support/letters.js'
import { tinyFolder } from './support/tiny-model.js'

async function model(name = 'llama', options: { readonly cache?: CacheType; readonly context?: number; readonly tokenizer?: Parameters<typeof letters>[0]; readonly seed?: number } = {}): Promise<CausalLm> {
  const weights = huggingFaceWeights(tinyFolder(name, {}, options.seed ?? 1))
  const loaded: LoadedWeights<ModelMatrix> = await loadWeights(weights, plainKeeper)
  return new CausalLm({
    name, format: 'huggingface', config: weights.config, tokenizer: letters(options.tokenizer), ends: [], weights: { kind: 'float', loaded },
    defaults: { context: options.context ?? 128, cache: options.cache ?? 'float32', activations: 'float32' },
  })
}

async function failure(code: ErrorCode, run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    expect(isLowbitError(error, code), String(error)).toBe(true)
    return String(error)
  }
  return expect.fail(`nothing failed with ${code}`)
}

const whole = (lm: CausalLm, prompt: string, options = {}): Promise<GenerationResult> => lm.generate(prompt, { maxTokens: 24, ...options }).result()

describe('a generation', () => {
  it('takes at each step the likeliest token after all before it', async () => {
    using lm = await model()
    const { tokens } = await whole(lm, 'Hello')
    using check = lm.session({ wanted: 1 })
    const text = [...letters().encode('Hello')]
    for (const token of tokens) {
      check.truncate(0)
      const logits = await check.extend(text)
      expect(logits.indexOf(Math.max(...logits))).toBe(token)
      text.push(token)
    }
    expect(tokens).toHaveLength(24)
  })

  it('streams what its result holds, and tells times and counts', async () => {
    using lm = await model()
    const generation = lm.generate('Hello', { maxTokens: 12, temperature: 1, seed: 3 })
    const pieces: string[] = []
    for await (const { text } of generation) pieces.push(text)
    const result = await generation.result()
    expect(pieces.join('')).toBe(result.text)
    expect(result).toMatchObject({ finish: 'length', promptTokens: 6, reusedTokens: 0, seed: 3 })
    expect(result.tokensPerSecond).toBeGreaterThan(0)
  })

  it('gives the same text for a seed, and other texts for other seeds', async () => {
    using lm = await model()
    const options = { temperature: 1.5, seed: 11 }
    const first = await whole(lm, 'abc', options)
    expect((await whole(lm, 'abc', options)).tokens).toEqual(first.tokens)
    expect((await whole(lm, 'abc', { ...options, seed: 12 })).tokens).not.toEqual(first.tokens)
    const unseeded = await whole(lm, 'abc', { temperature: 1.5 })
    expect((await whole(lm, 'abc', { temperature: 1.5, seed: unseeded.seed })).tokens).toEqual(unseeded.tokens)
  })

  it.each(['llama', 'gemma3'])('reuses what the caches share with the next prompt, and gives the same text as from nothing (%s)', async (name) => {
    using lm = await model(name)
    const first = await whole(lm, 'The cat sat on', { maxTokens: 20 })
    const next = await whole(lm, 'The cat sat under the table', { maxTokens: 20 })
    expect(next.reusedTokens).toBe(letters().encode('The cat sat ').length)
    using fresh = await model(name)
    expect((await whole(fresh, 'The cat sat under the table', { maxTokens: 20 })).tokens).toEqual(next.tokens)
    // The whole prompt is known, but logits have to come from its last token.
    const again = await whole(lm, 'The cat sat on', { maxTokens: 20 })
    expect(again.tokens).toEqual(first.tokens)
    expect((await whole(lm, 'The cat sat on', { maxTokens: 20 })).reusedTokens).toBe(again.promptTokens - 1)
  })

  it('reads a prompt longer than one run in pieces', async () => {
    using lm = await model('llama', { context: 128 })
    const long = 'abcdefgh'.repeat(12)
    const seen: number[] = []
    const { tokens } = await whole(lm, long, { maxTokens: 8, onPrompt: (done: number) => seen.push(done) })
    using pieces = lm.session({ rows: 7 })
    const logits = await pieces.extend(letters().encode(long))
    expect(logits.indexOf(Math.max(...logits))).toBe(tokens[0])
    expect(seen).toEqual([97])
  })

  it('ends at a stop string, which is not in the text', async () => {
    using lm = await model()
    const { text } = await whole(lm, 'Hello')
    const stop = text.slice(8, 11)
    const at = text.indexOf(stop)
    const stopped = await whole(lm, 'Hello', { stop: ['never there', stop] })
    expect(stopped).toMatchObject({ text: text.slice(0, at), finish: 'stop' })
  })

  it('ends at a token that ends texts', async () => {
    using plain = await model()
    const { tokens } = await whole(plain, 'Hello')
    const eos = tokens[5]
    using lm = await model('llama', { tokenizer: { eos: [0, eos] } })
    const ended = await whole(lm, 'Hello')
    expect(ended.finish).toBe('end')
    expect(ended.tokens).toEqual(tokens.slice(0, tokens.indexOf(eos)))
  })

  it('stops when it is left, and another may begin', async () => {
    using lm = await model()
    const records: GenerationRecord[] = []
    for await (const { token } of lm.generate('Hello', { maxTokens: 50, log: (record) => void records.push(record) })) if (token >= 0) break
    expect(records).toMatchObject([{ finish: 'left', prompt: 'Hello', promptTokens: 6 }])
    expect(records[0].tokens).toHaveLength(1)
    expect((await whole(lm, 'Hello')).tokens).toHaveLength(24)
  })

  it('is stopped by a signal, and says so in the log', async () => {
    using lm = await model()
    const controller = new AbortController()
    const records: GenerationRecord[] = []
    const generation = lm.generate('Hello', { maxTokens: 50, signal: controller.signal, log: (record) => void records.push(record) })
    let count = 0
    await failure('LOWBIT_ABORTED', async () => {
      for await (const { token } of generation) if (++count === 5 && token >= 0) controller.abort()
    })
    expect(count).toBe(5)
    expect(records).toMatchObject([{ finish: 'aborted', settings: { maxTokens: 50, temperature: 0 } }])
    expect((await whole(lm, 'Hello')).tokens).toHaveLength(24)
  })

  it('refuses what does not fit the context before anything is computed', async () => {
    using lm = await model('llama', { context: 16 })
    expect(await failure('LOWBIT_LIMIT', () => lm.generate('a text of more than sixteen'))).toContain('28 tokens')
    expect(await failure('LOWBIT_LIMIT', () => lm.generate('ten chars!', { maxTokens: 6 }))).toContain('at most 5')
    // Without a number, it makes what fits.
    expect((await lm.generate('ten chars!').result()).tokens.length).toBeLessThanOrEqual(5)
    await failure('LOWBIT_ARGUMENT', () => lm.generate('a', { maxTokens: 0 }))
    await failure('LOWBIT_ARGUMENT', () => lm.generate([]))
    await failure('LOWBIT_LIMIT', () => lm.session({ context: 129 }))
  })

  it('runs alone: a second one is refused while it lasts', async () => {
    using lm = await model()
    const first = lm.generate('Hello', { maxTokens: 4 })
    for await (const { token } of first) {
      if (token >= 0) await failure('LOWBIT_ARGUMENT', () => lm.generate('Other').result())
    }
    expect((await whole(lm, 'Other')).tokens).toHaveLength(24)
  })

  it('refuses a conversation where there is no template, and renders it where there is one', async () => {
    using plain = await model()
    await failure('LOWBIT_ARGUMENT', () => plain.generate([{ role: 'user', content: 'Hi' }]))
    const chat = { source: '', render: (messages: readonly { content: unknown }[]) => `<${messages.map(({ content }) => String(content)).join('/')}>` }
    using lm = await model('llama', { tokenizer: { chat } })
    const talk = await lm.generate([{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Yo' }], { maxTokens: 8 }).result()
    expect(talk.promptTokens).toBe('<Hi/Yo>'.length)
    expect((await lm.generate(letters().encode('<Hi/Yo>', { bos: false }), { maxTokens: 8 }).result()).tokens).toEqual(talk.tokens)
  })

  it('cannot run once the model is disposed of', async () => {
    const lm = await model()
    lm.dispose()
    await failure('LOWBIT_DISPOSED', () => lm.generate('Hello'))
  })

  it('fails with the step that makes values which are no numbers, and not in silence', async () => {
    const folder = tinyFolder('llama')
    const weights = huggingFaceWeights(folder)
    const loaded = await loadWeights(weights, plainKeeper)
    // Finite in the file, but gains of 1e38 overflow in the first product.
    const vectors = { ...loaded.vectors, 'layers.0.attention.norm': loaded.vectors['layers.0.attention.norm'].map(() => 3e38), norm: loaded.vectors['norm'].map(() => 3e38) }
    using lm = new CausalLm({ name: 'broken', format: 'huggingface', config: weights.config, tokenizer: letters(), ends: [], weights: { kind: 'float', loaded: { ...loaded, vectors } }, defaults: { context: 32, cache: 'float32', activations: 'float32' } })
    await failure('LOWBIT_NONFINITE', () => lm.generate('Hello').result())
  })
})

describe('caches', () => {
  it.each([['float16', 1e-6], ['int8', 3e-3]] as const)('of %s move probabilities by no more than their rounding', async (cache, most) => {
    using lm = await model()
    const tokens = letters().encode('The quick brown fox jumps over the lazy dog. The quick brown fox.')
    using exact = lm.session({ context: 64, rows: 16, wanted: 16 })
    using rounded = lm.session({ context: 64, rows: 16, wanted: 16, cache })
    const { kl } = await measureDivergence(rounded, exact, tokens, { window: 64 })
    expect(kl.mean.value).toBeLessThan(most)
    expect(kl.mean.value).toBeGreaterThan(0)
  })
})

describe('measuring', () => {
  it('gives the perplexity of the definition, whatever the size of runs', async () => {
    using lm = await model()
    const tokens = letters().encode('A short text that is measured in windows, each on its own.')
    using session = lm.session({ context: 32, rows: 5, wanted: 5 })
    const { perplexity, tokens: judged } = await measurePerplexity(session, tokens, { window: 20, stride: 8 })
    // By hand: the whole window again for each token.
    using single = lm.session({ context: 32 })
    let loss = 0
    let count = 0
    for (let i = 1; i < tokens.length; i++) {
      // The window that judges token i: the first whose end lies past it.
      const window = Math.max(0, Math.ceil((i + 1 - 20) / 8))
      single.truncate(0)
      const logits = await single.extend(tokens.slice(window * 8, i))
      const top = Math.max(...logits)
      loss += Math.log(logits.reduce((sum, v) => sum + Math.exp(v - top), 0)) + top - logits[tokens[i]]
      count++
    }
    expect(judged).toBe(count)
    expect(perplexity.value).toBeCloseTo(Math.exp(loss / count), 4)
  })

  it('finds no divergence of a model from itself, and some from another', async () => {
    using lm = await model()
    using other = await model('llama', { seed: 2 })
    const tokens = letters().encode('Some text to be measured by.')
    const sessions = [lm.session({ rows: 8, wanted: 8 }), lm.session({ rows: 8, wanted: 8 }), other.session({ rows: 8, wanted: 8 })]
    const same = await measureDivergence(sessions[0], sessions[1], tokens)
    expect(same.kl.max).toBe(0)
    expect(same.sameTop.value).toBe(1)
    expect(same.deltaP.value).toBe(0)
    const apart = await measureDivergence(sessions[0], sessions[2], tokens)
    expect(apart.kl.mean.value).toBeGreaterThan(0.1)
    expect(apart.kl.p99.value).toBeLessThanOrEqual(apart.kl.max)
    expect(apart.sameTop.value).toBeLessThan(0.5)
    for (const session of sessions) session.dispose()
  })

  it('refuses a text of one token and a window past the context', async () => {
    using lm = await model()
    using session = lm.session({ context: 16, rows: 8, wanted: 8 })
    await failure('LOWBIT_ARGUMENT', () => measurePerplexity(session, [5]))
    await failure('LOWBIT_LIMIT', () => measurePerplexity(session, [5, 6, 7, 8], { window: 17 }))
  })
})

describe('weights quantized while loading', () => {
  it('are codes, with their error in the report; embedding and head have more bits', async () => {
    const source = huggingFaceWeights(tinyFolder('llama'))
    const { matrices, report } = await loadWeights(source, plainKeeper, { weights: int4({ group: 32 }) })
    expect(report.find(({ name }) => name === 'layers.1.down')).toMatchObject({ stored: 'F32', held: 'int4 group 32', reason: 'quantized while loading' })
    expect(report.find(({ name }) => name === 'embed')?.held).toBe('int8 group 32')
    for (const { name, error = 0 } of report) {
      // Uniform weights: int4 over ±8 steps leaves about 1/(3·15²) of the energy, int8 a 280th of that.
      const most = name === 'embed' || name === 'head' ? 1e-4 : 1e-2
      expect(error, name).toBeGreaterThan(most / 300)
      expect(error, name).toBeLessThan(most)
    }
    expect('codes' in matrices['layers.0.q']).toBe(true)
  })

  it('refuse schemes that are not made of rows', async () => {
    const source = huggingFaceWeights(tinyFolder('llama'))
    await failure('LOWBIT_UNSUPPORTED', () => loadWeights(source, plainKeeper, { weights: int4({ perTensor: true }) }))
  })

  it('of NF4 become the nearest whole numbers for kernels without tables of floats, and say so', async () => {
    const keeper: Keeper<ModelMatrix> = { keep: (matrix) => ('scheme' in matrix && matrix.scheme.dtype === 'nf4' ? undefined : plainKeeper.keep(matrix)) }
    const source = huggingFaceWeights(tinyFolder('llama'))
    const { report } = await loadWeights(source, keeper, { weights: { dtype: 'nf4', granularity: { kind: 'group', axis: 1, size: 64 }, symmetric: true } })
    const found = report.find(({ name }) => name === 'layers.0.up')
    expect(found?.held).toContain('16 levels')
    expect(found?.reason).toContain('nf4')
    // 255 steps against 16: far below what NF4 itself changes, and not nothing.
    expect(found?.error).toBeGreaterThan(0)
    expect(found?.error).toBeLessThan(1e-4)
  })
})
