import { LowbitError, type BufferShape, type Program, type ProgramStep } from '@lowbit/core'

/** A place in a program where matrices are multiplied: before it stands what they read. */
export interface Cut {
  /** Index of the `linear` step. */
  readonly step: number
  /** Buffer that its products read. */
  readonly input: string
  /** Matrices, in the order of the step. */
  readonly matrices: readonly string[]
  /** Buffers that hold something that is still needed here, the input among them. */
  readonly live: readonly string[]
}

/** Where a program can be stopped and taken up again: before each `linear` step, in the order they run. */
export function findCuts(program: Program): readonly Cut[] {
  const live = liveBefore(program)
  return program.steps.flatMap((step, index) => (step.op === 'linear' ? [{ step: index, input: step.from, matrices: step.products.map((p) => p.matrix), live: live[index] }] : []))
}

/** What a step reads and writes. Caches are filled and read within one segment. */
function flow(step: ProgramStep): { readonly reads: readonly string[]; readonly writes: readonly string[] } {
  switch (step.op) {
    case 'embed': return { reads: [], writes: [step.to] }
    case 'linear': return { reads: [step.from], writes: step.products.map((p) => p.to) }
    case 'rope': return { reads: [step.buffer], writes: [step.buffer] }
    case 'append': return { reads: [step.keys, step.values], writes: [] }
    case 'attention': return { reads: [step.queries], writes: [step.to] }
    case 'gate': return { reads: [step.gate, step.up], writes: [step.to] }
    case 'add': return { reads: [step.a, step.b], writes: [step.to] }
    default: return { reads: [step.from], writes: [step.to] }
  }
}

/** Buffers that are read from each step on before they are written again. */
function liveBefore({ steps, output }: Program): readonly (readonly string[])[] {
  const before: string[][] = []
  let live = new Set([output])
  for (const [index, step] of [...steps.entries()].reverse()) {
    const { reads, writes } = flow(step)
    live = new Set([...reads, ...[...live].filter((name) => !writes.includes(name))])
    before[index] = [...live]
  }
  return before
}

/** Buffer that a segment gives back; the others that live on are read. */
export const SEGMENT_OUTPUT = 'segment.out'

export interface Segment {
  readonly program: Program
  /** What is filled in before it runs; none where tokens are embedded. */
  readonly inputs: readonly string[]
  /** What it leaves behind: the first is the program's output. */
  readonly outputs: readonly string[]
}

/**
 * The steps of a program from one cut up to another as a program of its own, in which every row counts.
 * @param from - index of the first step
 * @param to - index of the step that does not run any more; the number of steps: to the end
 * @param rows - tokens of one run, and positions
 */
export function segmentProgram(program: Program, from: number, to: number, rows: number): Segment {
  const live = liveBefore(program)
  const outputs = to === program.steps.length ? [program.output] : live[to]
  const [first] = outputs
  if (first === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'program', found: `nothing is live at step ${to}` })
  const steps = program.steps.slice(from, to).map((step): ProgramStep => (step.op === 'select' ? { op: 'copy', from: step.from, to: step.to } : step))
  const used = new Set([...(from === 0 ? [] : live[from]), ...outputs])
  const matrices = new Set<string>()
  const vectors = new Set<string>()
  const caches = new Set<string>()
  for (const step of steps) {
    for (const name of [...flow(step).reads, ...flow(step).writes]) used.add(name)
    if (step.op === 'embed') matrices.add(step.matrix)
    if (step.op === 'linear') {
      for (const { matrix, bias } of step.products) {
        matrices.add(matrix)
        if (bias !== undefined) vectors.add(bias)
      }
    }
    if (step.op === 'norm' && step.gain !== undefined) vectors.add(step.gain)
    if (step.op === 'rope') [step.cos, step.sin].forEach((name) => vectors.add(name))
    if (step.op === 'append' || step.op === 'attention') caches.add(step.cache)
  }
  const buffers: Record<string, BufferShape> = Object.fromEntries([...used].map((name) => [name, { width: program.buffers[name].width }]))
  buffers[SEGMENT_OUTPUT] = { width: program.buffers[first].width, rows: 'wanted' }
  return {
    inputs: from === 0 ? [] : live[from],
    outputs,
    program: {
      rows, wanted: rows, context: rows,
      matrices: pick(program.matrices, matrices),
      vectors: Object.fromEntries([...vectors].map((name) => [name, isTable(name) ? (program.vectors[name] / program.context) * rows : program.vectors[name]])),
      buffers,
      caches: pick(program.caches, caches),
      steps: [...steps, { op: 'select', from: first, to: SEGMENT_OUTPUT }],
      output: SEGMENT_OUTPUT,
    },
  }
}

/** Tables of rotations have a row for each position. */
const isTable = (name: string): boolean => name.startsWith('cos.') || name.startsWith('sin.')

function pick<T>(all: Readonly<Record<string, T>>, names: ReadonlySet<string>): Record<string, T> {
  return Object.fromEntries([...names].map((name) => [name, all[name]]))
}
