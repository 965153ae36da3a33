import fc from 'fast-check'
import { chatSamples, packSamples, textSamples } from '@lowbit/causal-lm/train'
import { describe, expect, it } from 'vitest'
import { chatTemplate, type Tokenizer } from '../../src/tokenizer/index.js'
import { Shuffled } from '../../src/train/data/pack.js'

/** One token a character, by its code; 1 begins a text. */
const letters: Tokenizer = {
  name: 'letters', size: 256, bos: 1, eos: [2],
  chat: chatTemplate('{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}$\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}'),
  encode: (text, { bos = true } = {}) => [...(bos ? [1] : []), ...[...text].map((c) => c.charCodeAt(0))],
  decode: (ids) => String.fromCharCode(...ids),
  stream: () => ({ push: (id) => String.fromCharCode(id), end: () => '' }),
  spelling: (id) => String.fromCharCode(id),
  idOf: (s) => s.charCodeAt(0),
  isSpecial: (id) => id < 3,
}

describe('samples', () => {
  it('are the texts between separators', () => {
    const samples = textSamples('one<|endoftext|>\n two \n<|endoftext|>', letters)
    expect(samples.map(({ tokens }) => letters.decode(tokens.slice(1)))).toEqual(['one', 'two'])
    expect(samples.every(({ tokens }) => tokens[0] === 1)).toBe(true)
    expect(textSamples('a b', letters, { separator: ' ' })).toHaveLength(2)
    expect(() => textSamples(' <|endoftext|> ', letters)).toThrow('LOWBIT_DATA')
  })

  it('of conversations learn what the assistant says, with its end', () => {
    const line = JSON.stringify({ messages: [{ role: 'system', content: 'S' }, { role: 'user', content: 'hi' }, { role: 'assistant', content: 'yes' }, { role: 'user', content: 'ok' }, { role: 'assistant', content: 'no' }] })
    const [{ tokens, learned = [] }] = chatSamples(`\n${line}\n`, letters)
    expect(letters.decode(tokens)).toBe('<s>S$\n<u>hi$\n<a>yes$\n<u>ok$\n<a>no$\n')
    expect(letters.decode(tokens.filter((_, i) => learned[i] === 1))).toBe('yes$\nno$\n')
    expect(chatSamples('{"text": "abc"}', letters)[0]).toEqual({ tokens: [1, 97, 98, 99] })
  })

  it.each([
    ['{"text": "a"}\n{"messages": [', 'line 2'],
    ['{"messages": []}', 'line 1'],
    ['[{"role": "user", "content": "x"}]', 'no message of the assistant'],
    ['17', 'line 1'],
    ['null', 'line 1'],
    ['', 'no conversation'],
  ])('of %j are refused by their line', (text, says) => {
    expect(() => chatSamples(text, letters, 'chat.jsonl')).toThrow(says)
    expect(() => chatSamples(text, letters, 'chat.jsonl')).toThrow('LOWBIT_DATA')
  })

  it('of conversations want a template, and one that goes on', () => {
    const line = '[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]'
    expect(() => chatSamples(line, { ...letters, chat: undefined })).toThrow('LOWBIT_ARGUMENT')
    expect(() => chatSamples(line, { ...letters, chat: chatTemplate('{{ messages | length }}{{ messages[-1].content }}') })).toThrow('LOWBIT_UNSUPPORTED')
  })
})

describe('packing', () => {
  it('makes each token a target once', () => {
    fc.assert(fc.property(fc.array(fc.array(fc.integer({ min: 3, max: 99 }), { minLength: 1, maxLength: 9 }), { minLength: 1, maxLength: 9 }), fc.integer({ min: 1, max: 6 }), (texts, window) => {
      const all = texts.flat()
      fc.pre(all.length > window)
      const windows = packSamples(texts.map((tokens) => ({ tokens })), window)
      expect(windows.flatMap((w) => w.targets)).toEqual(all.slice(1, 1 + windows.length * window))
      expect(windows.flatMap((w) => w.inputs)).toEqual(all.slice(0, windows.length * window))
      expect(all.length - 1 - windows.length * window).toBeLessThan(window)
    }))
  })

  it('of samples on their own pads what is not learned, and leaves out windows without an answer', () => {
    const windows = packSamples([{ tokens: [5, 6, 7], learned: [0, 0, 1] }, { tokens: [5, 6], learned: [0, 0] }, { tokens: [9] }], 4, 'samples', 0)
    expect(windows).toEqual([{ inputs: [5, 6, 7, 0], targets: [6, 7, 0, 0], weights: [0, 1, 0, 0] }])
  })

  it('refuses a text shorter than a window, and one in which nothing is learned', () => {
    expect(() => packSamples([{ tokens: [1, 2, 3] }], 3)).toThrow('at least 4')
    expect(() => packSamples([{ tokens: [1, 2, 3, 4], learned: [0, 0, 0, 0] }], 3)).toThrow('no token that is learned')
    expect(() => packSamples([{ tokens: [1, 2, 3, 4] }], 0)).toThrow('LOWBIT_ARGUMENT')
  })

  it('shows each window once an epoch, in an order of the seed alone', () => {
    const order = (seed: number): number[] => {
      const shuffled = new Shuffled(10, seed)
      return Array.from({ length: 30 }, (_, i) => shuffled.at(i))
    }
    const all = order(3)
    for (const epoch of [0, 1, 2]) expect(all.slice(10 * epoch, 10 * epoch + 10).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(all.slice(0, 10)).not.toEqual(all.slice(10, 20))
    expect(order(3)).toEqual(all)
    expect(order(4)).not.toEqual(all)
    expect(new Shuffled(10, 3).at(17)).toBe(all[17])
  })
})
