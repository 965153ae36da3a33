import type { CacheShape, Program, ProgramInput, ProgramStep } from '../contract/v2/programs.js'
import { dequantizeGrouped, groupAlongK, type GroupedTensor } from '../grouped-tensor.js'
import { checkProgram, stepName } from '../program/check-program.js'
import { checkProgramInput } from '../program/check-input.js'
import { isLowbitError, LowbitError } from '../errors.js'
import { fromBfloat16 } from '../numbers/bfloat16.js'
import { fromFloat16, roundToFloat16 } from '../numbers/float16.js'
import type { QTensor } from '../qtensor.js'
import { hasDType, type HostTensor } from '../tensor.js'
import { roundedGroups } from './activations.js'
import { dequantize } from './dequantize.js'

/** What the reference takes as weights. */
export type ReferenceWeights = QTensor | GroupedTensor | HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>

export interface ReferenceBindings {
  readonly matrices: Readonly<Record<string, ReferenceWeights>>
  readonly vectors: Readonly<Record<string, Float32Array>>
}

/** {@link referenceProgram} made ready. */
export interface ReferenceProgram {
  /** The output `[W, width]`, float64. */
  run(input: ProgramInput): Float64Array
  /** A buffer after the last run. */
  read(buffer: string): Float64Array
}

/**
 * Runs a program the slow way: float64 everywhere, each step as its formula reads. Weights are dequantized; int8 activations
 * are quantized as every kernel does (from values rounded to float32), and so are keys and values of an int8 or float16 cache.
 * @throws as `CompiledProgram`
 */
export function referenceProgram(program: Program, bindings: ReferenceBindings): ReferenceProgram {
  const matrices = new Map(Object.entries(bindings.matrices).map(([name, weights]) => [name, floats(weights)]))
  checkProgram(program, { matrices: Object.fromEntries([...matrices].map(([name, { shape: [rows = 0, columns = 0] }]) => [name, { rows, columns }])), vectors: bindings.vectors })
  const state = new State(program, matrices, bindings.vectors, new Map(Object.entries(bindings.matrices).flatMap(([name, weights]) => ('dtype' in weights ? [] : [[name, groupAlongK(weights)]]))))
  return {
    run: (input) => {
      const { rows, wanted, start, tokens } = checkProgramInput(program, input)
      state.begin(rows, wanted, start, tokens)
      for (const [name, values] of Object.entries(input.buffers ?? {})) state.values(name).set(values)
      program.steps.forEach((step, index) => runStep(state, step, stepName(step, index)))
      return state.values(program.output).slice()
    },
    read: (buffer) => state.values(buffer).slice(),
  }
}

function floats(weights: ReferenceWeights): HostTensor<'float32'> {
  if ('scheme' in weights) return dequantize(weights)
  if ('scales' in weights) return dequantizeGrouped(weights)
  if (hasDType(weights, 'float32')) return weights
  return { dtype: 'float32', shape: weights.shape, data: hasDType(weights, 'bfloat16') ? fromBfloat16(weights.data) : fromFloat16(weights.data) }
}

interface CacheValues {
  readonly shape: CacheShape
  readonly keys: Float64Array
  readonly values: Float64Array
}

/** Buffers and caches of one program. */
class State {
  readonly program: Program
  readonly #matrices: ReadonlyMap<string, HostTensor<'float32'>>
  readonly #vectors: Readonly<Record<string, Float32Array>>
  readonly #groups: ReadonlyMap<string, number>
  readonly #buffers = new Map<string, Float64Array>()
  readonly #caches = new Map<string, CacheValues>()
  rows = 0
  wanted = 0
  start = 0
  tokens: ArrayLike<number> = []

  constructor(program: Program, matrices: ReadonlyMap<string, HostTensor<'float32'>>, vectors: Readonly<Record<string, Float32Array>>, groups: ReadonlyMap<string, number>) {
    this.#groups = groups
    this.program = program
    this.#matrices = matrices
    this.#vectors = vectors
    for (const [name, { width, rows }] of Object.entries(program.buffers)) this.#buffers.set(name, new Float64Array(width * (rows === 'wanted' ? program.wanted : program.rows)))
    for (const [name, shape] of Object.entries(program.caches)) {
      const count = program.context * shape.heads * shape.size
      this.#caches.set(name, { shape, keys: new Float64Array(count), values: new Float64Array(count) })
    }
  }

  begin(rows: number, wanted: number, start: number, tokens: ArrayLike<number> | undefined): void {
    this.rows = rows
    this.wanted = wanted
    this.start = start
    this.tokens = tokens ?? []
  }

  width(buffer: string): number {
    return this.program.buffers[buffer]?.width ?? 0
  }
  rowsOf(buffer: string): number {
    return this.program.buffers[buffer]?.rows === 'wanted' ? this.wanted : this.rows
  }
  /** The rows of this run. */
  values(buffer: string): Float64Array {
    return present(this.#buffers.get(buffer), buffer).subarray(0, this.rowsOf(buffer) * this.width(buffer))
  }
  matrix(name: string): HostTensor<'float32'> {
    return present(this.#matrices.get(name), name)
  }
  /** Codes along K that share a scale; undefined for weights that were floats. */
  groupOf(matrix: string): number | undefined {
    return this.#groups.get(matrix)
  }
  vector(name: string): Float32Array {
    return present(this.#vectors[name], name)
  }
  cache(name: string): CacheValues {
    return present(this.#caches.get(name), name)
  }
}

function present<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'program', found: `${name} is not there` })
  return value
}

function runStep(state: State, step: ProgramStep, where: string): void {
  switch (step.op) {
    case 'embed': {
      const { data, shape } = state.matrix(step.matrix)
      const columns = shape[1] ?? 0
      const to = state.values(step.to)
      for (let i = 0; i < to.length; i++) to[i] = (data[(state.tokens[Math.floor(i / columns)] ?? 0) * columns + (i % columns)] ?? 0) * (step.by ?? 1)
      return
    }
    case 'norm': return norm(state, step)
    case 'linear': return linear(state, step, where)
    case 'rope': return rope(state, step)
    case 'append': {
      const { shape, keys, values } = state.cache(step.cache)
      store(shape, keys, state.values(step.keys), state.start)
      store(shape, values, state.values(step.values), state.start)
      return
    }
    case 'attention': return attention(state, step)
    case 'gate': {
      const gate = state.values(step.gate)
      const up = state.values(step.up)
      const to = state.values(step.to)
      for (let i = 0; i < to.length; i++) to[i] = activated(gate[i] ?? 0, step.activation) * (up[i] ?? 0)
      return
    }
    case 'add': {
      const a = state.values(step.a)
      const b = state.values(step.b)
      state.values(step.to).set(a.map((v, i) => v + (b[i] ?? 0)))
      return
    }
    case 'scale': return state.values(step.to).set(state.values(step.from).map((v) => v * step.by))
    case 'softcap': return state.values(step.to).set(state.values(step.from).map((v) => step.cap * Math.tanh(v / step.cap)))
    case 'copy': return state.values(step.to).set(state.values(step.from))
    case 'select': return state.values(step.to).set(state.values(step.from).subarray((state.rows - state.wanted) * state.width(step.from)))
  }
}

type Step<Op extends ProgramStep['op']> = Extract<ProgramStep, { readonly op: Op }>

function norm(state: State, { from, to, epsilon, gain, segments = 1 }: Step<'norm'>): void {
  const x = state.values(from)
  const y = state.values(to)
  const part = state.width(from) / segments
  const gains = gain === undefined ? undefined : state.vector(gain)
  for (let first = 0; first < x.length; first += part) {
    let squares = 0
    for (let i = first; i < first + part; i++) squares += (x[i] ?? 0) ** 2
    const factor = 1 / Math.sqrt(squares / part + epsilon)
    for (let i = first; i < first + part; i++) y[i] = (x[i] ?? 0) * factor * (gains?.[i - first] ?? 1)
  }
}

/** Float weights always meet float activations. */
function linear(state: State, step: Step<'linear'>, where: string): void {
  const k = state.width(step.from)
  const x = state.values(step.from)
  const { activations = 'int8' } = step
  for (const { matrix, bias, to } of step.products) {
    const { data } = state.matrix(matrix)
    const group = state.groupOf(matrix)
    const input = group === undefined || activations === 'float32' ? x : asCodes(x, k, activations === 'int8' ? k : group, where)
    const y = state.values(to)
    const n = state.width(to)
    const biases = bias === undefined ? undefined : state.vector(bias)
    for (let i = 0; i < y.length; i++) {
      const row = Math.floor(i / n)
      const column = i % n
      let sum = 0
      for (let j = 0; j < k; j++) sum += (input[row * k + j] ?? 0) * (data[column * k + j] ?? 0)
      y[i] = sum + (biases?.[column] ?? 0)
    }
  }
}

/** `code · scale` of rows of `columns`, each `group` of them with a scale, as activations are quantized. */
function asCodes(x: Float64Array, columns: number, group: number, where: string): Float64Array {
  try {
    return roundedGroups({ dtype: 'float32', shape: [x.length / columns, columns], data: Float32Array.from(x) }, group)
  } catch (cause) {
    if (!isLowbitError(cause, 'LOWBIT_NONFINITE')) throw cause
    throw new LowbitError('LOWBIT_NONFINITE', { ...cause.parts, thing: `${where}: ${cause.parts.thing}`, cause })
  }
}

function rope(state: State, { buffer, heads, rotated, cos, sin, style }: Step<'rope'>): void {
  const x = state.values(buffer)
  const width = state.width(buffer)
  const half = rotated / 2
  const cosines = state.vector(cos)
  const sines = state.vector(sin)
  for (let row = 0; row < state.rows; row++) {
    for (let head = 0; head < heads; head++) {
      const base = row * width + (head * width) / heads
      for (let i = 0; i < half; i++) {
        const a = style === 'halves' ? base + i : base + 2 * i
        const b = style === 'halves' ? base + i + half : base + 2 * i + 1
        const c = cosines[(state.start + row) * half + i] ?? 0
        const s = sines[(state.start + row) * half + i] ?? 0
        const [first = 0, second = 0] = [x[a], x[b]]
        x[a] = first * c - second * s
        x[b] = second * c + first * s
      }
    }
  }
}

/** Puts rows `[R, heads · size]` at positions from `start` on, rounded as the cache holds them. */
function store({ heads, size, type }: CacheShape, cache: Float64Array, rows: Float64Array, start: number): void {
  for (let first = 0; first < rows.length; first += size) {
    const part = rows.subarray(first, first + size)
    const kept = type === 'float32' ? part.map(Math.fround) : type === 'float16' ? part.map((v) => roundToFloat16(Math.fround(Math.min(Math.max(v, -65504), 65504)))) : asCodes(part, size, size, 'append')
    cache.set(kept, start * heads * size + first)
  }
}

function attention(state: State, { queries, cache, to, heads, scale, window = Infinity, softcap }: Step<'attention'>): void {
  const { shape, keys, values } = state.cache(cache)
  const q = state.values(queries)
  const y = state.values(to)
  const { size } = shape
  const stride = shape.heads * size
  for (let row = 0; row < state.rows; row++) {
    const position = state.start + row
    const first = Math.max(0, position - window + 1)
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor((head * shape.heads) / heads) * size
      const at = (row * heads + head) * size
      const scores: number[] = []
      for (let p = first; p <= position; p++) {
        let score = 0
        for (let i = 0; i < size; i++) score += (q[at + i] ?? 0) * (keys[p * stride + shared + i] ?? 0)
        score *= scale
        scores.push(softcap === undefined ? score : softcap * Math.tanh(score / softcap))
      }
      const top = Math.max(...scores)
      const weights = scores.map((score) => Math.exp(score - top))
      const total = weights.reduce((sum, w) => sum + w, 0)
      for (let i = 0; i < size; i++) y[at + i] = weights.reduce((sum, w, p) => sum + w * (values[(first + p) * stride + shared + i] ?? 0), 0) / total
    }
  }
}

function activated(x: number, activation: Step<'gate'>['activation']): number {
  switch (activation) {
    case 'silu': return x / (1 + Math.exp(-x))
    case 'gelu': return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
    case 'relu2': return Math.max(x, 0) ** 2
  }
}
