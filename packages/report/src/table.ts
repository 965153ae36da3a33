/** A column: its heading, and whether its cells stand to the right (numbers). */
export interface Column {
  readonly heading: string
  readonly right?: boolean
}

/** Text in columns, two spaces apart. Widths count characters as a terminal shows them (no colours inside cells). */
export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((c, i) => Math.max(c.heading.length, ...rows.map((r) => (r[i] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (columns[i].right ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ').trimEnd()
  return [line(columns.map((c) => c.heading)), line(widths.map((w) => '─'.repeat(w))), ...rows.map(line)].join('\n')
}

/** 1536 → `1.5 KB`; three figures, powers of 1000 as disks are sold. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2)} ${units[unit]}`
}

/** 0.0123 → `1.23 %` */
export function formatPercent(share: number, digits = 2): string {
  return `${(share * 100).toFixed(digits)} %`
}

/** Decibels with one digit; what is exact says so. */
export function formatDecibels(db: number): string {
  return db >= 300 ? 'exact' : db.toFixed(1)
}

/** Shortens a name from the left: the end of an exported name tells more. */
export function shorten(name: string, width: number): string {
  return name.length <= width ? name : `…${name.slice(name.length - width + 1)}`
}
