import { checkProgram, checkProgramInput, LowbitError, type HostTensor, type Program, type ProgramBindings, type ProgramInput, type SyncCompiledProgram, type SyncProgramCompiler } from '@lowbit/core'
import { disposed } from '../checks.js'
import { CONTROL_START } from '../control.js'
import type { KernelExports } from '../instance.js'
import { writeJob } from '../job.js'
import type { Heap, Piece } from '../memory.js'
import { WasmWeights, type PackedMatrix } from '../packed-matrix.js'
import type { Pool } from '../pool.js'
import { ACTIVATIONS, PROGRAMS } from './supports.js'
import { cacheWords, nameOf, planProgram, type Plan } from './plan.js'
import { PROGRAM_WORDS, STEP_BYTES, writeStep } from './steps.js'

/** What programs share with the provider they are compiled by. */
export interface ProgramEngine {
  readonly exports: KernelExports
  readonly memory: WebAssembly.Memory
  readonly heap: Heap
  readonly pool: Pool | undefined
  alive(): boolean
}

/** Compiles programs into the memory of a provider. */
export function wasmPrograms(engine: ProgramEngine): SyncProgramCompiler {
  return {
    compile: (program, bindings) => {
      if (!engine.alive()) throw disposed('kernel provider')
      checkProgram(program, { matrices: bindings.matrices, vectors: bindings.vectors }, PROGRAMS, ACTIVATIONS)
      return new WasmProgram(program, bindings, engine)
    },
  }
}

class WasmProgram implements SyncCompiledProgram {
  readonly program: Program
  readonly bytes: number
  readonly #engine: ProgramEngine
  readonly #plan: Plan
  readonly #weights: readonly (readonly [string, WasmWeights])[]
  #space: Piece | undefined
  #rows = 0
  #wanted = 0

  constructor(program: Program, bindings: ProgramBindings, engine: ProgramEngine) {
    this.program = program
    this.#engine = engine
    const matrices = new Map<string, PackedMatrix>()
    const weights: [string, WasmWeights][] = []
    for (const name of Object.keys(program.matrices)) {
      const bound = bindings.matrices[name]
      const matrix = bound instanceof WasmWeights ? bound.matrixIn(engine.heap) : undefined
      if (!(bound instanceof WasmWeights) || matrix === undefined) throw disposed(`weights of matrix ${name} (or weights of another provider)`)
      matrices.set(name, matrix)
      weights.push([name, bound])
    }
    this.#weights = weights
    this.#plan = planProgram(program, matrices, engine.pool?.threads ?? 1)
    this.bytes = this.#plan.bytes
    this.#space = engine.heap.take(this.bytes, `a program with its caches (context ${program.context})`)
    this.#write(this.#space.at, bindings)
  }

  /** Everything that stays the same from run to run. */
  #write(base: number, bindings: ProgramBindings): void {
    const { memory, pool } = this.#engine
    const plan = this.#plan
    const words = new Int32Array(memory.buffer)
    const floats = new Float32Array(memory.buffer)
    // caches too: what lies behind the last position is read along, and must not be slow to add up
    new Uint8Array(memory.buffer, base, plan.bytes).fill(0)
    for (const [name, at] of plan.vectors) floats.set(bindings.vectors[name] ?? [], (base + at) / 4)
    for (const cache of plan.caches.values()) words.set(cacheWords(cache, base), (base + cache.at) / 4)
    for (const job of plan.jobs) writeJob(words, base + job.at, job.words(base))
    let step = base + plan.steps
    plan.phases.forEach((phase, i) => {
      words.set([phase.kind, step, phase.steps.length, phase.wanted ? 1 : 0], (base + plan.phaseTable) / 4 + 4 * i)
      for (const make of phase.steps) {
        writeStep(words, floats, step, make(base))
        step += STEP_BYTES
      }
    })
    const header = { rows: 0, wanted: 0, start: 0, tokens: base + plan.tokens, phases: plan.phases.length, phaseTable: base + plan.phaseTable, threads: pool?.threads ?? 1, scratch: base + plan.scratch, scratchStride: plan.scratchStride, failed: 0, failedRow: 0 }
    words.set(PROGRAM_WORDS.map((word) => header[word]), (base + plan.header) / 4)
  }

  run(input: ProgramInput): HostTensor<'float32'> {
    const space = this.#alive()
    const { rows, wanted, start, tokens } = checkProgramInput(this.program, input)
    const { memory, exports, pool } = this.#engine
    const words = new Int32Array(memory.buffer)
    const header = (space.at + this.#plan.header) / 4
    words.set([rows, wanted, start], header)
    if (tokens !== undefined) words.set(tokens, (space.at + this.#plan.tokens) / 4)
    this.#rows = rows
    this.#wanted = wanted
    for (const [name, values] of Object.entries(input.buffers ?? {})) this.#fill(space.at, name, values)
    exports.beginProgram(CONTROL_START, space.at + this.#plan.header)
    if (pool === undefined) exports.runAlone(space.at + this.#plan.header)
    else pool.runProgram()
    const failed = words[header + PROGRAM_WORDS.indexOf('failed')] ?? 0
    if (failed !== 0) {
      const row = (words[header + PROGRAM_WORDS.indexOf('failedRow')] ?? 1) - 1
      const { op } = this.program.steps[failed - 1] ?? { op: 'linear' }
      throw new LowbitError('LOWBIT_NONFINITE', { thing: `${nameOf(this.program, failed - 1)}: row ${row}`, found: 'a NaN or an infinity', expected: 'finite values, which become 8-bit codes', fix: op === 'append' ? 'use a float32 cache, or look for what makes it' : "look for the step that makes it, or use activations: 'float32'" })
    }
    return this.#copy(space.at, this.program.output)
  }

  read(buffer: string): HostTensor<'float32'> {
    const space = this.#alive()
    if (!Object.hasOwn(this.program.buffers, buffer)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'program', found: `buffer ${buffer} is not declared`, expected: Object.keys(this.program.buffers).slice(0, 20).join(', ') })
    return this.#copy(space.at, buffer)
  }

  dispose(): void {
    if (this.#space !== undefined) this.#engine.heap.give(this.#space)
    this.#space = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #alive(): Piece {
    if (this.#space === undefined) throw disposed('compiled program')
    if (!this.#engine.alive()) throw disposed('kernel provider')
    for (const [name, weights] of this.#weights) if (weights.matrixIn(this.#engine.heap) === undefined) throw disposed(`weights of matrix ${name}`)
    return this.#space
  }

  #fill(base: number, name: string, values: Float32Array): void {
    const room = this.#plan.buffers.get(name)
    if (room === undefined) return
    const floats = new Float32Array(this.#engine.memory.buffer)
    for (let row = 0; row * room.width < values.length; row++) floats.set(values.subarray(row * room.width, (row + 1) * room.width), (base + room.at + row * room.stride) / 4)
  }

  #copy(base: number, name: string): HostTensor<'float32'> {
    const room = this.#plan.buffers.get(name)
    if (room === undefined) throw new RangeError(`buffer ${name} is not there`)
    const rows = room.wanted ? this.#wanted : this.#rows
    const data = new Float32Array(rows * room.width)
    const floats = new Float32Array(this.#engine.memory.buffer)
    for (let row = 0; row < rows; row++) {
      const from = (base + room.at + row * room.stride) / 4
      data.set(floats.subarray(from, from + room.width), row * room.width)
    }
    return { dtype: 'float32', shape: [rows, room.width], data }
  }
}
