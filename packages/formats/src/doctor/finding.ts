/** Something about a model file that costs its users speed, accuracy, or the loading. */
export interface Finding {
  /** Stable name of the rule, as `accuracy-level`. */
  readonly rule: string
  /** `error`: some runtime refuses the file, or computes nonsense. `warning`: it costs speed, size or accuracy. `hint`: it may, elsewhere. */
  readonly severity: 'error' | 'warning' | 'hint'
  /** What it concerns: names of nodes or tensors, the largest first. Empty: the file as a whole. */
  readonly where: readonly string[]
  /** What was found, and what it costs. */
  readonly found: string
  /** The option or the command that cures it. */
  readonly cure: string
  /** `--fix` repairs it without changing a value that the model computes. */
  readonly fixable?: true
}

/** Errors first, then warnings, then hints. */
export function bySeverity(findings: readonly Finding[]): readonly Finding[] {
  const order = ['error', 'warning', 'hint']
  return [...findings].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
}
