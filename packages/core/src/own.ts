/**
 * A table's own entry. Names that come from files are hostile: `table['constructor']` is what every object inherits.
 * @returns undefined where the table itself has none
 */
export function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}
