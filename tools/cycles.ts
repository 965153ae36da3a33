/** The first circle in a graph of imports, as the files on the way around; undefined if there is none. */
export function findCycle(imports: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const done = new Set<string>()
  for (const start of imports.keys()) {
    const found = walk(start, [], new Set())
    if (found !== undefined) return found
  }
  return undefined

  function walk(file: string, path: readonly string[], above: ReadonlySet<string>): readonly string[] | undefined {
    if (above.has(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    for (const next of imports.get(file) ?? []) {
      const found = walk(next, [...path, file], new Set([...above, file]))
      if (found !== undefined) return found
    }
    done.add(file)
    return undefined
  }
}
