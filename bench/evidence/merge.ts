import type { EvidenceTable } from './types.ts'

/** Fills empty cells of new tables with those that earlier runs measured, found by table, row name and column title. */
export function mergeTables(fresh: readonly EvidenceTable[], kept: readonly EvidenceTable[]): readonly EvidenceTable[] {
  return fresh.map((table): EvidenceTable => {
    const before = kept.find((t) => t.id === table.id)
    if (before === undefined) return table
    const rows = table.rows.map((row) => {
      const old = before.rows.find(([name]) => name === row[0])
      return row.map((cell, i) => (cell === '' ? (old?.[before.columns.indexOf(table.columns[i])] ?? '') : cell))
    })
    return { ...table, rows }
  })
}
