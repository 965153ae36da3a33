import { appendLine } from '@lowbit/formats/node'
import type { GenerationRecord } from '@lowbit/causal-lm'

/** Appends each generation to a file, one line of JSON each. */
export function generationLog(path: string): (record: GenerationRecord) => Promise<void> {
  return (record) => appendLine(path, JSON.stringify(record))
}
