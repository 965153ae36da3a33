import { readFile } from 'node:fs/promises'

/** Byte-pair encoding: text to token ids and back. */
export interface Tokenizer {
  readonly size: number
  encode(text: string): Uint16Array
  decode(tokens: ArrayLike<number>): string
}

const DECODER = new TextDecoder('utf-8')

/** Learns merges from a text until there are `size` tokens: the 256 bytes and the most frequent pairs. Words are not crossed. */
export function learnTokenizer(text: string, size: number): Tokenizer {
  const words = new Map<string, number>()
  for (const word of splitWords(text)) words.set(word, (words.get(word) ?? 0) + 1)
  const counts = [...words.values()]
  const pieces = [...words.keys()].map((word) => [...new TextEncoder().encode(word)])
  const merges = new Map<number, number>()
  const bytes: number[][] = Array.from({ length: 256 }, (_, b) => [b])
  while (bytes.length < size) {
    const pairs = new Map<number, number>()
    pieces.forEach((word, w) => {
      for (let i = 0; i + 1 < word.length; i++) {
        const key = word[i] * 65536 + word[i + 1]
        pairs.set(key, (pairs.get(key) ?? 0) + counts[w])
      }
    })
    let best = -1
    let most = 1
    for (const [key, count] of pairs) {
      if (count > most || (count === most && key < best)) {
        best = key
        most = count
      }
    }
    if (best < 0) break
    const [left, right] = [Math.floor(best / 65536), best % 65536]
    merges.set(best, bytes.length)
    pieces.forEach((word) => mergePair(word, left, right, bytes.length))
    bytes.push([...bytes[left], ...bytes[right]])
  }
  const known = new Map<string, number[]>()
  return {
    size: bytes.length,
    encode(input) {
      const out: number[] = []
      for (const word of splitWords(input)) {
        let tokens = known.get(word)
        if (tokens === undefined) {
          tokens = [...new TextEncoder().encode(word)]
          mergeLowest(tokens, (left, right) => merges.get(left * 65536 + right))
          known.set(word, tokens)
        }
        out.push(...tokens)
      }
      return Uint16Array.from(out)
    },
    decode: (tokens) => DECODER.decode(Uint8Array.from(Array.from(tokens).flatMap((t) => bytes[t] ?? []))),
  }
}

/** A space belongs to the word after it. */
const splitWords = (text: string): string[] => text.match(/ ?[A-Za-z]+| ?[^A-Za-z\s]+|\s/g) ?? []

function mergePair(word: number[], left: number, right: number, token: number): void {
  for (let i = 0; i + 1 < word.length; i++) if (word[i] === left && word[i + 1] === right) word.splice(i, 2, token)
}

/** Merges the pair of lowest rank until none is left. */
function mergeLowest(tokens: number[], rank: (left: number, right: number) => number | undefined): void {
  for (;;) {
    let at = -1
    let lowest = Infinity
    for (let i = 0; i + 1 < tokens.length; i++) {
      const r = rank(tokens[i], tokens[i + 1])
      if (r !== undefined && r < lowest) {
        lowest = r
        at = i
      }
    }
    if (at < 0) return
    tokens.splice(at, 2, lowest)
  }
}

/**
 * Reads a tokenizer file in llama2.c's form: longest token, then score, length and bytes of each token.
 * Token 1 begins a text; bytes stand at 3 to 258.
 */
export async function readTokenizer(path: string): Promise<Tokenizer> {
  const file = await readFile(path)
  const tokens: string[] = []
  const scores: number[] = []
  for (let at = 4; at + 8 <= file.length; ) {
    const length = file.readInt32LE(at + 4)
    if (length < 0 || at + 8 + length > file.length) throw new Error(`${path}: token ${tokens.length} reaches beyond the file`)
    scores.push(file.readFloatLE(at))
    tokens.push(file.toString('utf8', at + 8, at + 8 + length))
    at += 8 + length
  }
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const merged = (left: number, right: number): number | undefined => ids.get(tokens[left] + tokens[right])
  const known = new Map<string, number[]>()
  const encodeWord = (word: string): number[] => {
    const before = known.get(word)
    if (before !== undefined) return before
    const out = [...word].flatMap((c) => ids.get(c) ?? [...new TextEncoder().encode(c)].map((b) => b + 3))
    for (;;) {
      let at = -1
      let best = -Infinity
      for (let i = 0; i + 1 < out.length; i++) {
        const id = merged(out[i], out[i + 1])
        if (id !== undefined && scores[id] > best) {
          best = scores[id]
          at = i
        }
      }
      if (at < 0) break
      out.splice(at, 2, merged(out[at], out[at + 1]) ?? 0)
    }
    known.set(word, out)
    return out
  }
  return {
    size: tokens.length,
    encode: (text) => Uint16Array.from(splitWords(text).flatMap(encodeWord)),
    decode: (list) => Array.from(list, (t) => (t < 3 ? '' : /^<0x[0-9A-F]{2}>$/.test(tokens[t] ?? '') ? String.fromCharCode(t - 3) : (tokens[t] ?? ''))).join(''),
  }
}
