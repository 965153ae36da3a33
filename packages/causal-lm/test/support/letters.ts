import type { Tokenizer } from '@lowbit/causal-lm'

/** A tokenizer of 96 characters, one a token: 0 is the end, 1 the start. `€` takes two tokens, 2 and 3. */
export function letters(more: Partial<Tokenizer> = {}): Tokenizer {
  const spell = (id: number): string => (id < 4 ? '' : String.fromCharCode(28 + id))
  return {
    name: 'letters', size: 96, bos: 1, eos: [0], chat: undefined,
    encode: (text, { bos = true } = {}) => [...(bos ? [1] : []), ...[...text].flatMap((c) => (c === '€' ? [2, 3] : [c.charCodeAt(0) - 28]))],
    decode: (ids) => [...ids].map(spell).join(''),
    stream() {
      let half = false
      return {
        push(id) {
          if (id === 2) {
            half = true
            return ''
          }
          const text = id === 3 && half ? '€' : (half ? '\ufffd' : '') + spell(id)
          half = false
          return text
        },
        end: () => (half ? '\ufffd' : ''),
      }
    },
    spelling: spell,
    idOf: () => undefined,
    isSpecial: (id) => id < 2,
    ...more,
  }
}
