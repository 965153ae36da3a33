import type { KernelActivations } from '../contract/v2/kernels.js'
import type { BufferShape, CacheShape, MatrixShape, Program, ProgramStep, ProgramSupports } from '../contract/v2/programs.js'
import { LowbitError } from '../errors.js'

/** The sizes that a provider finds behind the names of a program. */
export interface BoundSizes {
  readonly matrices: Readonly<Record<string, MatrixShape>>
  readonly vectors: Readonly<Record<string, { readonly length: number }>>
}

/**
 * Holds a program against its own declarations and against what its names are bound to, before memory is allocated.
 * @param supports what the provider runs; left out: everything
 * @param activations `KernelSupports.activations`
 * @throws LOWBIT_SHAPE for sizes that do not fit, LOWBIT_ARGUMENT for anything else, LOWBIT_UNSUPPORTED; the step is named
 */
export function checkProgram(program: Program, bound: BoundSizes, supports?: ProgramSupports, activations: readonly KernelActivations[] = supports === undefined ? ACTIVATIONS : ['int8', 'float32']): void {
  for (const name of ['rows', 'wanted', 'context'] as const) whole(program[name], 1, `program: ${name}`)
  if (program.wanted > program.rows) throw argument('program: wanted', `${program.wanted}`, `at most rows (${program.rows})`)
  for (const [name, { rows, columns }] of Object.entries(program.matrices)) {
    whole(rows, 1, `matrix ${name}: rows`)
    whole(columns, 1, `matrix ${name}: columns`)
    const weights = own(bound.matrices, name)
    if (weights === undefined) throw argument(`matrix ${name}`, 'no weights bound to it', 'packed weights')
    if (weights.rows !== rows || weights.columns !== columns) throw shape(`matrix ${name}`, `weights [${weights.rows}, ${weights.columns}]`, `[${rows}, ${columns}]`)
  }
  for (const [name, length] of Object.entries(program.vectors)) {
    whole(length, 1, `vector ${name}`)
    const values = own(bound.vectors, name)
    if (values === undefined) throw argument(`vector ${name}`, 'no floats bound to it', `${length} floats`)
    if (values.length !== length) throw shape(`vector ${name}`, `${values.length} floats`, `${length}`)
  }
  for (const [name, { width, rows }] of Object.entries(program.buffers)) {
    whole(width, 1, `buffer ${name}: width`)
    if (rows !== undefined && rows !== 'run' && rows !== 'wanted') throw argument(`buffer ${name}: rows`, String(rows), 'run or wanted')
  }
  for (const [name, { heads, size, type }] of Object.entries(program.caches)) {
    whole(heads, 1, `cache ${name}: heads`)
    whole(size, 1, `cache ${name}: size`)
    if (type !== 'float32' && type !== 'float16' && type !== 'int8') throw argument(`cache ${name}: type`, String(type), 'float32, float16 or int8')
    if (supports !== undefined && !supports.caches.includes(type)) throw unsupported(`cache ${name}`, type, supports.caches)
  }
  if (!Array.isArray(program.steps) || program.steps.length === 0) throw argument('program: steps', 'none', 'at least one')
  program.steps.forEach((step, index) => {
    if (supports !== undefined && !supports.ops.includes(step.op)) throw unsupported(stepName(step, index), String(step.op), supports.ops)
    if (step.op === 'linear' && step.activations !== undefined && ACTIVATIONS.includes(step.activations) && !activations.includes(step.activations)) throw unsupported(`${stepName(step, index)}: activations`, step.activations, activations)
    checkStep(new Names(program, stepName(step, index)), step)
  })
  const output = new Names(program, 'output').buffer(program.output)
  if (rowsOf(output) !== 'wanted') throw argument('output', `buffer ${program.output} of all rows`, "a buffer with rows: 'wanted'")
}

const ACTIVATIONS: readonly KernelActivations[] = ['int8', 'int8-group', 'float32']

/** `step 7 (linear)`: how errors call a step. */
export function stepName(step: ProgramStep, index: number): string {
  return `step ${index} (${step.op})`
}

function checkStep(names: Names, step: ProgramStep): void {
  switch (step.op) {
    case 'embed': {
      const to = names.buffer(step.to)
      names.equal(to.width, names.matrix(step.matrix).columns, `width of ${step.to}`, `columns of ${step.matrix}`)
      names.allRows(step.to)
      if (step.by !== undefined) names.finite(step.by, 'by')
      return
    }
    case 'norm': {
      const { segments = 1 } = step
      const width = names.pair(step.from, step.to)
      names.divides(segments, width, 'segments')
      names.finite(step.epsilon, 'epsilon')
      if (step.epsilon < 0) throw argument(`${names.where}: epsilon`, String(step.epsilon), 'at least 0')
      if (step.gain !== undefined) names.equal(names.vector(step.gain), width / segments, `gain ${step.gain}`, 'floats of a part')
      return
    }
    case 'linear': {
      const { width } = names.buffer(step.from)
      if (!Array.isArray(step.products) || step.products.length === 0) throw argument(`${names.where}: products`, 'none', 'at least one')
      if (step.activations !== undefined && !ACTIVATIONS.includes(step.activations)) throw argument(`${names.where}: activations`, String(step.activations), ACTIVATIONS.join(', '))
      const written = new Set<string>()
      for (const { matrix, bias, to } of step.products) {
        const { rows, columns } = names.matrix(matrix)
        names.equal(columns, width, `columns of ${matrix}`, `width of ${step.from}`)
        names.equal(names.buffer(to).width, rows, `width of ${to}`, `rows of ${matrix}`)
        names.sameRows(step.from, to)
        names.apart(step.from, to)
        if (written.has(to)) throw argument(names.where, `two products write ${to}`, 'one buffer each')
        written.add(to)
        if (bias !== undefined) names.equal(names.vector(bias), rows, `bias ${bias}`, `rows of ${matrix}`)
      }
      return
    }
    case 'rope': {
      const { width } = names.buffer(step.buffer)
      names.divides(step.heads, width, 'heads')
      names.allRows(step.buffer)
      const { rotated } = step
      if (!Number.isInteger(rotated) || rotated < 2 || rotated % 2 !== 0 || rotated > width / step.heads) throw argument(`${names.where}: rotated`, String(rotated), `an even number from 2 to ${width / step.heads}`)
      for (const table of [step.cos, step.sin]) names.equal(names.vector(table), (names.program.context * rotated) / 2, `table ${table}`, `context (${names.program.context}) · rotated / 2`)
      if (step.style !== 'halves' && step.style !== 'interleaved') throw argument(`${names.where}: style`, String(step.style), 'halves or interleaved')
      return
    }
    case 'append': {
      const { heads, size } = names.cache(step.cache)
      for (const from of [step.keys, step.values]) {
        names.equal(names.buffer(from).width, heads * size, `width of ${from}`, `heads · size of ${step.cache}`)
        names.allRows(from)
      }
      return
    }
    case 'attention': {
      const { heads, size } = names.cache(step.cache)
      for (const buffer of [step.queries, step.to]) {
        names.equal(names.buffer(buffer).width, step.heads * size, `width of ${buffer}`, `heads · size of ${step.cache}`)
        names.allRows(buffer)
      }
      names.apart(step.queries, step.to)
      names.divides(heads, step.heads, `heads of ${step.cache}`)
      names.finite(step.scale, 'scale')
      if (step.window !== undefined) whole(step.window, 1, `${names.where}: window`)
      if (step.softcap !== undefined) names.positive(step.softcap, 'softcap')
      return
    }
    case 'gate': {
      names.pair(step.gate, step.to)
      names.pair(step.up, step.to)
      if (!['silu', 'gelu', 'relu2'].includes(step.activation)) throw argument(`${names.where}: activation`, String(step.activation), 'silu, gelu or relu2')
      return
    }
    case 'add':
      names.pair(step.a, step.to)
      names.pair(step.b, step.to)
      return
    case 'scale':
      names.pair(step.from, step.to)
      names.finite(step.by, 'by')
      return
    case 'softcap':
      names.pair(step.from, step.to)
      names.positive(step.cap, 'cap')
      return
    case 'copy':
      names.pair(step.from, step.to)
      return
    case 'select': {
      names.equal(names.buffer(step.to).width, names.buffer(step.from).width, `width of ${step.to}`, `width of ${step.from}`)
      names.allRows(step.from)
      if (rowsOf(names.buffer(step.to)) !== 'wanted') throw argument(names.where, `${step.to} of all rows`, "a buffer with rows: 'wanted'")
      return
    }
    default: {
      const { op }: { readonly op: unknown } = step
      throw argument(names.where, `op ${String(op)}`, 'an op of the contract')
    }
  }
}

/** Looks names up for one step. */
class Names {
  readonly program: Program
  readonly where: string
  constructor(program: Program, where: string) {
    this.program = program
    this.where = where
  }

  buffer(name: string): BufferShape {
    return this.#find(this.program.buffers, name, 'buffer')
  }
  matrix(name: string): MatrixShape {
    return this.#find(this.program.matrices, name, 'matrix')
  }
  vector(name: string): number {
    return this.#find(this.program.vectors, name, 'vector')
  }
  cache(name: string): CacheShape {
    return this.#find(this.program.caches, name, 'cache')
  }

  /** Two buffers of one width and the same rows. */
  pair(from: string, to: string): number {
    const { width } = this.buffer(from)
    this.equal(this.buffer(to).width, width, `width of ${to}`, `width of ${from}`)
    this.sameRows(from, to)
    return width
  }
  sameRows(a: string, b: string): void {
    if (rowsOf(this.buffer(a)) !== rowsOf(this.buffer(b))) throw argument(this.where, `${a} has rows of the ${rowsOf(this.buffer(a))}, ${b} of the ${rowsOf(this.buffer(b))}`, 'the same rows', )
  }
  allRows(name: string): void {
    if (rowsOf(this.buffer(name)) !== 'run') throw argument(this.where, `${name} has wanted rows only`, 'a buffer of all rows')
  }
  apart(a: string, b: string): void {
    if (a === b) throw argument(this.where, `${a} is read and written`, 'two buffers')
  }
  equal(found: number, expected: number, what: string, as: string): void {
    if (found !== expected) throw shape(`${this.where}: ${what}`, `${found}`, `${expected}, the ${as}`)
  }
  divides(part: number, of: number, what: string): void {
    if (!Number.isInteger(part) || part < 1 || of % part !== 0) throw argument(`${this.where}: ${what}`, String(part), `a divisor of ${of}`)
  }
  finite(value: number, what: string): void {
    if (typeof value !== 'number' || !Number.isFinite(value)) throw argument(`${this.where}: ${what}`, String(value), 'a finite number')
  }
  positive(value: number, what: string): void {
    this.finite(value, what)
    if (value <= 0) throw argument(`${this.where}: ${what}`, String(value), 'more than 0')
  }

  #find<T>(all: Readonly<Record<string, T>>, name: string, kind: string): T {
    const found = own(all, name)
    if (found === undefined) throw argument(this.where, `${kind} ${String(name)} is not declared`, `one of ${Object.keys(all).slice(0, 20).join(', ') || '(none)'}`)
    return found
  }
}

const rowsOf = (buffer: BufferShape): 'run' | 'wanted' => buffer.rows ?? 'run'

function own<T>(all: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(all, name) ? all[name] : undefined
}

function whole(value: number, least: number, thing: string): void {
  if (!Number.isSafeInteger(value) || value < least) throw argument(thing, String(value), `a whole number of at least ${least}`)
}

function argument(thing: string, found: string, expected: string): LowbitError {
  return new LowbitError('LOWBIT_ARGUMENT', { thing, found, expected })
}

function shape(thing: string, found: string, expected: string): LowbitError {
  return new LowbitError('LOWBIT_SHAPE', { thing, found, expected })
}

function unsupported(thing: string, found: string, supported: readonly string[]): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${found}, which these kernels do not run`, expected: supported.join(', ') })
}
