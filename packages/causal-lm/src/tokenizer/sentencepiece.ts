import { LowbitError } from '@lowbit/core'
import { byteTokenStream } from './byte-stream.js'
import type { ChatTemplate } from './chat-template.js'
import { Literals } from './literals.js'
import type { DecodeOptions, Tokenizer, TokenStream } from './tokenizer.js'
import { TOKEN_TYPE, type Vocabulary } from './vocabulary.js'

/** Stands for a space in pieces. */
export const SPACE = '\u2581'

export interface SentencePieceOptions {
  readonly name: string
  readonly vocabulary: Vocabulary
  readonly bos: number | undefined
  readonly eos: readonly number[]
  readonly unknown: number | undefined
  readonly chat: ChatTemplate | undefined
  /** Text starts with a space that is not there. */
  readonly spacePrefix: boolean
  /** Text to the form that pieces are spelled in, without the space in front: spaces are {@link SPACE}. */
  normalize(text: string): string
  /** Pieces of normalized text: ids, or what no piece spells. */
  segment(text: string): readonly (number | string)[]
}

/** Tokens of bytes (`<0x0A>`) by byte. */
function byteTokens(vocabulary: Vocabulary): (number | undefined)[] {
  const ids: (number | undefined)[] = new Array<number | undefined>(256)
  for (const [spelling, id] of vocabulary.ofType(TOKEN_TYPE.byte)) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(spelling)?.[1]
    if (byte === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing: `token ${id}`, found: `'${spelling}' of type byte`, expected: '<0x00> to <0xFF>' })
    ids[Number.parseInt(byte, 16)] = id
  }
  return ids
}

/** What SentencePiece (Kudo and Richardson 2018) has in common for BPE and unigram: spaces, bytes, unknown pieces, decoding. */
export function sentencePiece(options: SentencePieceOptions): Tokenizer {
  const { name, vocabulary, bos, eos, chat, unknown, spacePrefix } = options
  const control = new Literals(vocabulary.ofType(TOKEN_TYPE.control))
  const bytes = byteTokens(vocabulary)
  const byteOf = new Map(bytes.flatMap((id, byte) => (id === undefined ? [] : [[id, byte] as const])))

  const encodeText = (text: string, ids: number[]): void => {
    const normalized = options.normalize(text)
    if (normalized === '') return
    let before: number | undefined
    for (const part of options.segment(spacePrefix ? SPACE + normalized : normalized)) {
      const spelled = typeof part === 'number' ? [part] : fallback(part)
      // A run of unknown characters is one unknown piece.
      for (const id of spelled) if (id !== unknown || before !== unknown) ids.push((before = id))
    }
  }
  const fallback = (text: string): number[] => {
    const spelled = Array.from(new TextEncoder().encode(text), (byte) => bytes[byte])
    if (spelled.every((id) => id !== undefined)) return spelled
    if (unknown === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: `'${text}'`, expected: 'text that the vocabulary spells: it has neither bytes nor an unknown piece' })
    return [unknown]
  }
  const isSpecial = (id: number): boolean => vocabulary.isSpecial(id)
  const bytesOf = (id: number): Uint8Array => {
    const spelling = vocabulary.expect(id)
    const byte = byteOf.get(id)
    if (byte !== undefined) return Uint8Array.of(byte)
    if (id === unknown) return new TextEncoder().encode(' \u2047 ')
    return new TextEncoder().encode(vocabulary.type(id) === TOKEN_TYPE.control ? spelling : spelling.replaceAll(SPACE, ' '))
  }
  const stream = (streaming: DecodeOptions = {}): TokenStream => {
    const inner = byteTokenStream(bytesOf, isSpecial, streaming)
    let first = spacePrefix
    return {
      push(id) {
        const text = inner.push(id)
        if (!first || vocabulary.type(id) === TOKEN_TYPE.control) return text
        first = false
        return text.startsWith(' ') && (vocabulary.spelling(id) ?? '').startsWith(SPACE) ? text.slice(1) : text
      },
      end: () => inner.end(),
    }
  }
  return {
    name, bos, eos, chat, isSpecial, stream,
    size: vocabulary.size,
    encode(text, { bos: front = true, special = true } = {}) {
      const ids: number[] = front && bos !== undefined ? [bos] : []
      for (const part of special ? control.split(text) : [text]) {
        if (typeof part === 'number') ids.push(part)
        else encodeText(part, ids)
      }
      return ids
    },
    decode(ids, decoding) {
      const running = stream(decoding)
      let text = ''
      for (const id of ids) text += running.push(id)
      return text + running.end()
    },
    spelling: (id) => vocabulary.spelling(id),
    idOf: (spelling) => vocabulary.idOf(spelling),
  }
}

