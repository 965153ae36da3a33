/** One table of evidence: rows of figures with what they are to be held against. */
export interface EvidenceTable {
  /** Unique over all modules: its place in docs/evidence.md. */
  readonly id: string
  readonly title: string
  /** What was measured, on what, by which rule. */
  readonly note: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | number)[])[]
}

/** A part of `npm run evidence`: `npm run evidence -- name` runs one. */
export interface EvidenceModule {
  readonly name: string
  /** Writes lines about what it is doing to `log`. */
  run(log: (line: string) => void): Promise<readonly EvidenceTable[]>
}
