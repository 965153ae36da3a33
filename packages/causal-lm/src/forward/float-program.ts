import {
  checkProgram, checkProgramInput, groupAlongK, isLowbitError, LowbitError, roundedGroups, roundToFloat16, stepName,
  type CacheShape, type HostTensor, type Program, type ProgramInput, type ProgramStep, type SyncCompiledProgram,
} from '@lowbit/core'
import { matrixFloats, type ModelMatrix } from '../weights/matrix.js'

type Step<Op extends ProgramStep['op']> = Extract<ProgramStep, { readonly op: Op }>

/** A matrix as the interpreter keeps it. */
interface FloatMatrix {
  readonly values: Float32Array
  /** It held codes, so many with one scale: its products round their input where the step says so. */
  readonly group: number | undefined
}

/** Keys and values of all positions, `[context, heads · size]`, as rounded by the type of the cache. */
interface FloatCache {
  readonly shape: CacheShape
  readonly keys: Float32Array
  readonly values: Float32Array
}

/**
 * Runs a program in plain TypeScript: values are float32, sums double. For engines without WebAssembly, and as the yardstick
 * that is fast enough for whole texts. Weights are held as floats.
 * @throws as `ProgramCompiler.compile`
 */
export function compileFloat(program: Program, bindings: { readonly matrices: Readonly<Record<string, ModelMatrix>>; readonly vectors: Readonly<Record<string, Float32Array>> }): SyncCompiledProgram {
  checkProgram(program, {
    matrices: Object.fromEntries(Object.entries(bindings.matrices).map(([name, { shape: [rows, columns] }]) => [name, { rows, columns }])),
    vectors: bindings.vectors,
  })
  const matrices = new Map(Object.keys(program.matrices).map((name) => [name, { values: matrixFloats(bindings.matrices[name]).data, group: groupOf(bindings.matrices[name]) }]))
  return new FloatProgram(program, matrices, new Map(Object.keys(program.vectors).map((name) => [name, bindings.vectors[name]])))
}

class FloatProgram implements SyncCompiledProgram {
  readonly program: Program
  readonly #matrices: ReadonlyMap<string, FloatMatrix>
  readonly #vectors: ReadonlyMap<string, Float32Array>
  readonly #buffers: ReadonlyMap<string, Float32Array>
  readonly #caches: ReadonlyMap<string, FloatCache>
  #rows = 0
  #wanted = 0
  #start = 0
  #tokens: ArrayLike<number> = []
  #disposed = false

  constructor(program: Program, matrices: ReadonlyMap<string, FloatMatrix>, vectors: ReadonlyMap<string, Float32Array>) {
    this.program = program
    this.#matrices = matrices
    this.#vectors = vectors
    this.#buffers = new Map(Object.entries(program.buffers).map(([name, { width, rows }]) => [name, new Float32Array(width * (rows === 'wanted' ? program.wanted : program.rows))]))
    this.#caches = new Map(Object.entries(program.caches).map(([name, shape]) => {
      const count = program.context * shape.heads * shape.size
      return [name, { shape, keys: new Float32Array(count), values: new Float32Array(count) }]
    }))
  }

  get bytes(): number {
    let bytes = 0
    for (const values of [...this.#buffers.values(), ...this.#vectors.values()]) bytes += values.byteLength
    for (const { keys, values } of this.#caches.values()) bytes += keys.byteLength + values.byteLength
    return bytes
  }

  run(input: ProgramInput): HostTensor<'float32'> {
    if (this.#disposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: 'program', found: 'it was disposed of' })
    const { rows, wanted, start, tokens } = checkProgramInput(this.program, input)
    this.#rows = rows
    this.#wanted = wanted
    this.#start = start
    this.#tokens = tokens ?? []
    for (const [name, values] of Object.entries(input.buffers ?? {})) this.#values(name).set(values)
    this.program.steps.forEach((step, index) => {
      this.#step(step, () => stepName(step, index))
    })
    return this.read(this.program.output)
  }

  read(buffer: string): HostTensor<'float32'> {
    const values = this.#values(buffer)
    const width = this.#width(buffer)
    return { dtype: 'float32', shape: [values.length / width, width], data: values.slice() }
  }

  dispose(): void {
    this.#disposed = true
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #width(buffer: string): number {
    return this.program.buffers[buffer].width
  }

  /** The rows of this run. */
  #values(buffer: string): Float32Array {
    const { width, rows } = this.program.buffers[buffer]
    return known(this.#buffers, buffer).subarray(0, width * (rows === 'wanted' ? this.#wanted : this.#rows))
  }

  #step(step: ProgramStep, where: () => string): void {
    switch (step.op) {
      case 'embed': {
        const { values } = known(this.#matrices, step.matrix)
        const to = this.#values(step.to)
        const width = this.#width(step.to)
        const { by = 1 } = step
        for (let row = 0; row < this.#rows; row++) for (let i = 0; i < width; i++) to[row * width + i] = values[this.#tokens[row] * width + i] * by
        return
      }
      case 'norm': return this.#norm(step)
      case 'linear': return this.#linear(step, where)
      case 'rope': return this.#rope(step)
      case 'append': {
        const cache = known(this.#caches, step.cache)
        store(cache.shape, cache.keys, this.#values(step.keys), this.#start, where)
        store(cache.shape, cache.values, this.#values(step.values), this.#start, where)
        return
      }
      case 'attention': return this.#attention(step)
      case 'gate': {
        const gate = this.#values(step.gate)
        const up = this.#values(step.up)
        const to = this.#values(step.to)
        const activation = ACTIVATIONS[step.activation]
        for (let i = 0; i < to.length; i++) to[i] = activation(gate[i]) * up[i]
        return
      }
      case 'add': {
        const a = this.#values(step.a)
        const b = this.#values(step.b)
        const to = this.#values(step.to)
        for (let i = 0; i < to.length; i++) to[i] = a[i] + b[i]
        return
      }
      case 'scale': return this.#map(step, (v) => v * step.by)
      case 'softcap': return this.#map(step, (v) => step.cap * Math.tanh(v / step.cap))
      case 'copy': return this.#map(step, (v) => v)
      case 'select': {
        const width = this.#width(step.from)
        this.#values(step.to).set(this.#values(step.from).subarray((this.#rows - this.#wanted) * width))
      }
    }
  }

  #map({ from, to }: { readonly from: string; readonly to: string }, value: (v: number) => number): void {
    const x = this.#values(from)
    const y = this.#values(to)
    for (let i = 0; i < y.length; i++) y[i] = value(x[i])
  }

  #norm({ from, to, epsilon, gain, segments = 1 }: Step<'norm'>): void {
    const x = this.#values(from)
    const y = this.#values(to)
    const part = this.#width(from) / segments
    const gains = gain === undefined ? undefined : known(this.#vectors, gain)
    for (let first = 0; first < x.length; first += part) {
      let squares = 0
      for (let i = first; i < first + part; i++) squares += x[i] * x[i]
      const factor = 1 / Math.sqrt(squares / part + epsilon)
      for (let i = 0; i < part; i++) y[first + i] = x[first + i] * factor * (gains === undefined ? 1 : gains[i])
    }
  }

  #linear(step: Step<'linear'>, where: () => string): void {
    const columns = this.#width(step.from)
    const x = this.#values(step.from)
    if (x.length === 0) return
    const rounded = new Map<number, Float32Array>()
    for (const { matrix, bias, to } of step.products) {
      const { values, group } = known(this.#matrices, matrix)
      const along = step.activations === 'float32' || group === undefined ? 0 : step.activations === 'int8-group' ? group : columns
      const input = along === 0 ? x : (rounded.get(along) ?? roundedRows(x, columns, along, where))
      rounded.set(along, input)
      product(input, columns, values, bias === undefined ? undefined : known(this.#vectors, bias), this.#values(to))
    }
  }

  #rope({ buffer, heads, rotated, cos, sin, style }: Step<'rope'>): void {
    const x = this.#values(buffer)
    const width = this.#width(buffer)
    const size = width / heads
    const half = rotated / 2
    const cosines = known(this.#vectors, cos)
    const sines = known(this.#vectors, sin)
    const [step, apart] = style === 'halves' ? [1, half] : [2, 1]
    for (let row = 0; row < this.#rows; row++) {
      const table = (this.#start + row) * half
      for (let base = row * width; base < (row + 1) * width; base += size) {
        for (let i = 0; i < half; i++) {
          const a = x[base + i * step]
          const b = x[base + i * step + apart]
          x[base + i * step] = a * cosines[table + i] - b * sines[table + i]
          x[base + i * step + apart] = b * cosines[table + i] + a * sines[table + i]
        }
      }
    }
  }

  #attention({ queries, cache, to, heads, scale, window = Infinity, softcap }: Step<'attention'>): void {
    const { shape, keys, values } = known(this.#caches, cache)
    const { size } = shape
    const stride = shape.heads * size
    const q = this.#values(queries)
    const y = this.#values(to)
    const scores = new Float32Array(this.program.context)
    const sums = new Float64Array(size)
    for (let row = 0; row < this.#rows; row++) {
      const position = this.#start + row
      const first = Math.max(0, position - window + 1)
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor((head * shape.heads) / heads) * size
        const at = (row * heads + head) * size
        let top = -Infinity
        for (let p = first; p <= position; p++) {
          let score = 0
          for (let i = 0, k = p * stride + shared; i < size; i++, k++) score += q[at + i] * keys[k]
          score *= scale
          if (softcap !== undefined) score = softcap * Math.tanh(score / softcap)
          scores[p] = score
          if (score > top) top = score
        }
        let total = 0
        sums.fill(0)
        for (let p = first; p <= position; p++) {
          const weight = Math.exp(scores[p] - top)
          total += weight
          for (let i = 0, v = p * stride + shared; i < size; i++, v++) sums[i] += weight * values[v]
        }
        for (let i = 0; i < size; i++) y[at + i] = sums[i] / total
      }
    }
  }
}

const groupOf = (matrix: ModelMatrix): number | undefined => ('codes' in matrix ? groupAlongK(matrix) : undefined)

function known<T>(all: ReadonlyMap<string, T>, name: string): T {
  const found = all.get(name)
  if (found === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'program', found: `${name} is not there` })
  return found
}

const GELU = Math.sqrt(2 / Math.PI)

const ACTIVATIONS: Readonly<Record<Step<'gate'>['activation'], (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + Math.tanh(GELU * (x + 0.044715 * x * x * x))),
  relu2: (x) => (x > 0 ? x * x : 0),
}

/** `y [M, N] = x [M, K] · wᵀ [K, N] + bias`; four sums side by side. */
function product(x: Float32Array, columns: number, w: Float32Array, bias: Float32Array | undefined, y: Float32Array): void {
  const n = w.length / columns
  const whole = columns - (columns % 4)
  for (let column = 0; column < n; column++) {
    const from = column * columns
    for (let row = 0, at = 0; at < x.length; row++, at += columns) {
      let [a, b, c, d] = [0, 0, 0, 0]
      for (let i = 0; i < whole; i += 4) {
        a += x[at + i] * w[from + i]
        b += x[at + i + 1] * w[from + i + 1]
        c += x[at + i + 2] * w[from + i + 2]
        d += x[at + i + 3] * w[from + i + 3]
      }
      for (let i = whole; i < columns; i++) a += x[at + i] * w[from + i]
      y[row * n + column] = a + b + (c + d) + (bias === undefined ? 0 : bias[column])
    }
  }
}

/** Rows rounded as kernels quantize activations, each `group` values with a scale: `code · scale`. */
function roundedRows(x: Float32Array, columns: number, group: number, where: () => string): Float32Array {
  try {
    return Float32Array.from(roundedGroups({ dtype: 'float32', shape: [x.length / columns, columns], data: x.slice() }, group))
  } catch (cause) {
    if (!isLowbitError(cause, 'LOWBIT_NONFINITE')) throw cause
    throw new LowbitError('LOWBIT_NONFINITE', { ...cause.parts, thing: `${where()}: ${cause.parts.thing}`, cause })
  }
}

function store({ heads, size, type }: CacheShape, cache: Float32Array, rows: Float32Array, start: number, where: () => string): void {
  const kept = type === 'float32' ? rows : type === 'float16' ? rows.map(roundToFloat16) : roundedRows(rows, size, size, where)
  cache.set(kept, start * heads * size)
}
