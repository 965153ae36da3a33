/** The candidate that a misspelt word most likely stands for; undefined if none is near, or several are. */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  const plain = normal(word)
  if (plain === '' || plain.length > 60) return undefined
  let best: string | undefined
  let least = Infinity
  for (const candidate of candidates) {
    const other = normal(candidate)
    const starts = Math.min(plain.length, other.length) >= 3 && (plain.startsWith(other) || other.startsWith(plain))
    const distance = starts ? Math.min(1, Math.abs(plain.length - other.length)) : editDistance(plain, other)
    if (distance === least) best = undefined
    if (distance < least && distance <= Math.max(1, Math.floor(Math.max(plain.length, other.length) / 3))) {
      least = distance
      best = candidate
    }
  }
  return best
}

/** Case and punctuation are what is misspelt most. */
function normal(word: string): string {
  return word.toLowerCase().replace(/[^a-z0-9]/g, '')
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j++) {
      let least = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, at(i - 2, j - 2) + 1)
      row.push(least)
    }
  }
  return at(a.length, b.length)
}
