import type { Program } from '@lowbit/core'

/** Steps that are differentiated together. */
export interface Segment {
  readonly from: number
  readonly to: number
  /** Matrices and vectors that they read. */
  readonly matrices: readonly string[]
  readonly vectors: readonly string[]
}

/** Where the layers of a decoder's program end: its residual stream is all that goes from one to the next. */
export interface Segments {
  /** Embedding and layers. */
  readonly body: readonly Segment[]
  /** Last norm and head, behind `select`. */
  readonly head: Segment
}

/** @param each layers of a segment; `undefined`: all of them */
export function segmentsOf(program: Program, each: number | undefined): Segments {
  const select = program.steps.findIndex(({ op }) => op === 'select')
  const ends: number[] = []
  let seen = 0
  program.steps.slice(0, select).forEach((step, i) => {
    // A layer adds to the stream twice: after attention, after the MLP.
    if (step.op !== 'add' || step.to !== 'x') return
    seen++
    if (each !== undefined && seen % (2 * each) === 0) ends.push(i + 1)
  })
  if (ends.at(-1) !== select) ends.push(select)
  return { body: ends.map((to, i) => segment(program, ends[i - 1] ?? 0, to)), head: segment(program, select + 1, program.steps.length) }
}

export function segment(program: Program, from: number, to: number): Segment {
  const matrices = new Set<string>()
  const vectors = new Set<string>()
  for (const step of program.steps.slice(from, to)) {
    if (step.op === 'embed') matrices.add(step.matrix)
    if (step.op === 'norm' && step.gain !== undefined) vectors.add(step.gain)
    if (step.op !== 'linear') continue
    for (const { matrix, bias } of step.products) {
      matrices.add(matrix)
      if (bias !== undefined) vectors.add(bias)
    }
  }
  return { from, to, matrices: [...matrices], vectors: [...vectors] }
}
