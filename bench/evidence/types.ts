/** One table of evidence: rows of figures with what they are to be held against. */
export interface EvidenceTable {
  /** Unique over all modules: its place in docs/evidence.md. */
  readonly id: string
  readonly title: string
  /** What was measured, on what, by which rule. */
  readonly note: string
  readonly columns: readonly string[]
  /** The first cell names the row. */
  readonly rows: readonly (readonly (string | number)[])[]
}

/** Which cells of a table are to be computed anew. */
export interface Selection {
  row(name: string): boolean
  column(title: string): boolean
}

/** A part of `npm run evidence`: `npm run evidence -- name` runs one. */
export interface EvidenceModule {
  readonly name: string
  /** It can compute some cells alone: the others of its tables are empty and keep what was measured before. */
  readonly partial?: boolean
  /** Writes lines about what it is doing to `log`; may hand tables that are not full yet to `keep`, so that a run that is stopped was not for nothing. */
  run(log: (line: string) => void, selection: Selection, keep: (tables: readonly EvidenceTable[]) => void): Promise<readonly EvidenceTable[]>
}
