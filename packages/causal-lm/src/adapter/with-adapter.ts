import type { BufferShape, MatrixShape, Program, ProgramStep } from '@lowbit/core'
import type { LoraAdapter } from './lora-adapter.js'

/** Buffers of an adapter: the input taken down to the rank, and what comes up again. */
const DOWN = 'adapter.down'
const up = (width: number): string => `adapter.up.${width}`

/** A decoder's program with an adapter beside its matrices: they stay what they are, its products are added in float32. */
export function withAdapter(program: Program, { sites, rank }: LoraAdapter): Program {
  const steps: ProgramStep[] = []
  const matrices: Record<string, MatrixShape> = { ...program.matrices }
  const buffers: Record<string, BufferShape> = { ...program.buffers, [DOWN]: { width: rank } }
  for (const step of program.steps) {
    steps.push(step)
    if (step.op !== 'linear') continue
    for (const { matrix, to } of step.products) {
      if (!sites.has(matrix)) continue
      const { rows, columns } = program.matrices[matrix]
      matrices[`${matrix}/down`] = { rows: rank, columns }
      matrices[`${matrix}/up`] = { rows, columns: rank }
      buffers[up(rows)] = { width: rows }
      steps.push(
        { op: 'linear', from: step.from, products: [{ matrix: `${matrix}/down`, to: DOWN }], activations: 'float32' },
        { op: 'linear', from: DOWN, products: [{ matrix: `${matrix}/up`, to: up(rows) }], activations: 'float32' },
        { op: 'add', a: to, b: up(rows), to },
      )
    }
  }
  return { ...program, matrices, buffers, steps }
}
