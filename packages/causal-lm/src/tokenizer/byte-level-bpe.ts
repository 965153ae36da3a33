import { LowbitError } from '@lowbit/core'
import { spellBytes, unspellBytes } from './byte-level.js'
import { byteTokenStream, decodeUtf8 } from './byte-stream.js'
import type { ChatTemplate } from './chat-template.js'
import { Literals } from './literals.js'
import { mergePairs } from './merge-pairs.js'
import { cut, type PreTokenizer } from './pre-tokenizers.js'
import type { Tokenizer } from './tokenizer.js'
import { TOKEN_TYPE, type Vocabulary } from './vocabulary.js'

/** Pieces whose tokens are remembered, and the longest such piece. */
const CACHED = 1 << 14
const CACHED_LENGTH = 64

export interface ByteLevelOptions {
  readonly name: string
  readonly vocabulary: Vocabulary
  /** `left right`, first merge first. */
  readonly merges: readonly string[]
  readonly rules: PreTokenizer
  readonly bos: number | undefined
  readonly eos: readonly number[]
  readonly chat: ChatTemplate | undefined
}

interface Merge {
  readonly rank: number
  readonly id: number
}

function readMerges(vocabulary: Vocabulary, merges: readonly string[], thing: string): Map<number, Merge> {
  const table = new Map<number, Merge>()
  merges.forEach((merge, rank) => {
    const space = merge.indexOf(' ', 1)
    const left = vocabulary.idOf(merge.slice(0, space))
    const right = vocabulary.idOf(merge.slice(space + 1))
    const id = vocabulary.idOf(merge.slice(0, space) + merge.slice(space + 1))
    if (space < 0 || left === undefined || right === undefined || id === undefined) {
      throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}: merge ${rank}`, found: `'${merge.slice(0, 80)}'`, expected: 'two tokens whose union is a token', fix: 'the merges do not fit the vocabulary: they may come from another model' })
    }
    const key = left * vocabulary.size + right
    if (!table.has(key)) table.set(key, { rank, id })
  })
  return table
}

/** Byte-level byte-pair encoding (GPT-2, Llama 3, Qwen, SmolLM): text is cut by patterns, a piece's bytes are merged by rank. */
export function byteLevelBpe(options: ByteLevelOptions): Tokenizer {
  const { name, vocabulary, rules, bos, eos, chat } = options
  const merges = readMerges(vocabulary, options.merges, name)
  const user = new Literals(vocabulary.ofType(TOKEN_TYPE.user))
  const all = new Literals(vocabulary.ofType(TOKEN_TYPE.user, TOKEN_TYPE.control))
  const cache = new Map<string, readonly number[]>()

  const mergePiece = (spelled: string): number[] => {
    const whole = rules.wholePieces === true ? vocabulary.idOf(spelled) : undefined
    if (whole !== undefined) return [whole]
    const ids: number[] = []
    for (const character of spelled) {
      const id = vocabulary.idOf(character)
      // A byte that the vocabulary lacks is dropped, as the reference does: it has no token to stand for it.
      if (id !== undefined) ids.push(id)
    }
    const mergeOf = (left: number, right: number): Merge | undefined => merges.get((ids[left] as number) * vocabulary.size + (ids[right] as number))
    const kept = mergePairs(ids.length, (left, right) => mergeOf(left, right)?.rank, (left, right) => { ids[left] = mergeOf(left, right)?.id as number })
    return kept.map((i) => ids[i] as number)
  }
  const encodePiece = (piece: string): readonly number[] => {
    const known = cache.get(piece)
    if (known !== undefined) return known
    const ids = mergePiece(spellBytes(piece))
    if (piece.length <= CACHED_LENGTH) {
      if (cache.size >= CACHED) cache.clear()
      cache.set(piece, ids)
    }
    return ids
  }
  const added = (id: number): boolean => vocabulary.type(id) !== TOKEN_TYPE.normal
  const bytesOf = (id: number): Uint8Array => {
    const spelling = vocabulary.expect(id)
    return (added(id) ? undefined : unspellBytes(spelling)) ?? new TextEncoder().encode(spelling)
  }
  const isSpecial = (id: number): boolean => vocabulary.isSpecial(id)

  return {
    name, bos, eos, chat, isSpecial,
    size: vocabulary.size,
    encode(text, { bos: front = true, special = true } = {}) {
      const ids: number[] = front && bos !== undefined ? [bos] : []
      for (const part of (special ? all : user).split(text)) {
        if (typeof part === 'number') ids.push(part)
        else for (const piece of cut(rules.normalize === undefined ? part : part.normalize(rules.normalize), rules.patterns)) for (const id of encodePiece(piece)) ids.push(id)
      }
      return ids
    },
    decode: (ids, { skipSpecial = false } = {}) => decodeUtf8([...ids].flatMap((id) => (skipSpecial && isSpecial(id) ? [] : [bytesOf(id)]))),
    stream: (streaming = {}) => byteTokenStream(bytesOf, isSpecial, streaming),
    spelling: (id) => vocabulary.spelling(id),
    idOf: (spelling) => vocabulary.idOf(spelling),
  }
}
