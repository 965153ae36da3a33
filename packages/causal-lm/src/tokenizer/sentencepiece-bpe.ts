import type { Literals } from './literals.js'
import { mergePairs } from './merge-pairs.js'
import { TOKEN_TYPE, type Vocabulary } from './vocabulary.js'

/**
 * Merges by score: of neighbours whose union is a piece the best score first, the leftmost of equals. User-defined pieces are cut out first
 * and never merge. Pieces of type unused may be passed through, but do not stay: they fall back into what they were merged from.
 */
export function segmentByScores(text: string, vocabulary: Vocabulary, scores: ArrayLike<number>, user: Literals): (number | string)[] {
  const starts: number[] = []
  const ends: number[] = []
  const fixed: (number | undefined)[] = []
  for (let at = 0; at < text.length; ) {
    const found = user.match(text, at)
    const length = found?.length ?? ((text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1)
    starts.push(at)
    fixed.push(found?.id)
    ends.push((at += length))
  }
  const mergedFrom = new Map<string, readonly [string, string]>()
  const pieceOf = (left: number, right: number): number | undefined => {
    if (fixed[left] !== undefined || fixed[right] !== undefined) return undefined
    const id = vocabulary.idOf(text.slice(starts[left], ends[right]))
    const type = id === undefined ? undefined : vocabulary.type(id)
    return type === TOKEN_TYPE.normal || type === TOKEN_TYPE.user || type === TOKEN_TYPE.unused ? id : undefined
  }
  const kept = mergePairs(
    starts.length,
    (left, right) => {
      const id = pieceOf(left, right)
      return id === undefined ? undefined : -(scores[id] ?? 0)
    },
    (left, right) => {
      const piece = text.slice(starts[left], ends[right])
      if (vocabulary.type(vocabulary.idOf(piece) ?? -1) === TOKEN_TYPE.unused) mergedFrom.set(piece, [text.slice(starts[left], ends[left]), text.slice(starts[right], ends[right])])
      ends[left] = ends[right] as number
    },
  )
  const spelled = (piece: string): (number | string)[] => {
    const parts = mergedFrom.get(piece)
    if (parts !== undefined) return parts.flatMap(spelled)
    const id = vocabulary.idOf(piece)
    const type = id === undefined ? undefined : vocabulary.type(id)
    return [id !== undefined && (type === TOKEN_TYPE.normal || type === TOKEN_TYPE.user) ? id : piece]
  }
  return kept.flatMap((i) => fixed[i] ?? spelled(text.slice(starts[i], ends[i])))
}
