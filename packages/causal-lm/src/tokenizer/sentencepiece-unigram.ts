import type { Literals } from './literals.js'
import type { Vocabulary } from './vocabulary.js'
import { TOKEN_TYPE } from './vocabulary.js'

const f32 = Math.fround

/** What an unknown character costs below the worst piece. */
const UNKNOWN_PENALTY = 10

/**
 * The most likely segmentation under a unigram model (Kudo 2018): Viterbi over piece scores in float32, an unknown character costs 10 more than
 * the worst piece, a user-defined piece wins over everything.
 */
export class Unigram {
  readonly #pieces: Literals
  readonly #scores: Float32Array
  readonly #unknown: number

  constructor(vocabulary: Vocabulary, scores: ArrayLike<number>, pieces: Literals) {
    this.#pieces = pieces
    let [least, most] = [Infinity, -Infinity]
    for (let id = 0; id < vocabulary.size; id++) {
      if (vocabulary.type(id) !== TOKEN_TYPE.normal) continue
      least = Math.min(least, scores[id] ?? 0)
      most = Math.max(most, scores[id] ?? 0)
    }
    this.#unknown = f32(f32(Number.isFinite(least) ? least : 0) - UNKNOWN_PENALTY)
    this.#scores = Float32Array.from({ length: vocabulary.size }, (_, id) =>
      vocabulary.type(id) === TOKEN_TYPE.user ? [...(vocabulary.spelling(id) ?? '')].length * (Number.isFinite(most) ? most : 0) - 0.1 : (scores[id] ?? 0),
    )
  }

  segment(text: string): (number | string)[] {
    const best = new Float32Array(text.length + 1).fill(-Infinity)
    const from = new Int32Array(text.length + 1)
    const piece = new Int32Array(text.length + 1)
    best[0] = 0
    const offer = (start: number, end: number, id: number, score: number): void => {
      const total = f32((best[start] as number) + score)
      if (total > (best[end] as number)) {
        best[end] = total
        from[end] = start
        piece[end] = id
      }
    }
    for (let at = 0; at < text.length; ) {
      const width = (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1
      let single = false
      for (const { id, length } of this.#pieces.matches(text, at)) {
        offer(at, at + length, id, this.#scores[id] as number)
        if (length === width) single = true
      }
      if (!single) offer(at, at + width, -1, this.#unknown)
      at += width
    }
    const parts: (number | string)[] = []
    for (let end = text.length; end > 0; end = from[end] as number) parts.push(piece[end] === -1 ? text.slice(from[end], end) : (piece[end] as number))
    return parts.reverse()
  }
}
