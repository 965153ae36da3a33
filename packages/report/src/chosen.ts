import type { Json, Report } from '@lowbit/core'
import { formatPercent } from './table.js'

interface Candidate {
  readonly use: string
  readonly config: Json
  readonly rows: number
}

/**
 * What `best-of` took, as a line of the report: each candidate with its share of all output channels. Candidates of one package are told
 * apart by a setting in which they differ. Undefined where nothing was chosen.
 */
export function chosenLine(report: Report): string | undefined {
  const rows = new Map<string, number>()
  let all = 0
  for (const { notes } of report.sites) {
    const candidates = candidatesOf(notes?.chosen)
    for (const candidate of candidates) {
      const label = labelOf(candidate, candidates)
      rows.set(label, (rows.get(label) ?? 0) + candidate.rows)
      all += candidate.rows
    }
  }
  if (all === 0) return undefined
  const shares = [...rows].sort((a, b) => b[1] - a[1]).map(([label, n]) => `${label} ${formatPercent(n / all, 1)}`)
  return `Least output error, by output channels: ${shares.join(', ')}`
}

/** The package, and where another candidate is of the same one, the first setting that no other shares; else all that differ. */
function labelOf({ use, config }: Candidate, candidates: readonly Candidate[]): string {
  const others = candidates.filter((c) => c.use === use && c.config !== config).map((c) => entriesOf(c.config))
  const differing = [...entriesOf(config)].filter(([key, value]) => others.some((o) => !same(o.get(key), value)))
  const unique = differing.find(([key, value]) => others.every((o) => !same(o.get(key), value)))
  const shown = unique === undefined ? differing : [unique]
  return [use.replace(/^@lowbit\/(algos-|core\/)?/, ''), ...shown.map(([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`)].join(' ')
}

const same = (a: Json | undefined, b: Json): boolean => JSON.stringify(a) === JSON.stringify(b)

function entriesOf(config: Json): ReadonlyMap<string, Json> {
  return new Map(typeof config === 'object' && config !== null && !Array.isArray(config) ? Object.entries(config) : [])
}

function candidatesOf(chosen: Json | undefined): readonly Candidate[] {
  if (!Array.isArray(chosen)) return []
  return chosen.flatMap((item: Json): Candidate[] => {
    if (typeof item !== 'object' || item === null || !('use' in item)) return []
    const { use, config, rows } = item
    return typeof use === 'string' && typeof rows === 'number' ? [{ use, config, rows }] : []
  })
}
