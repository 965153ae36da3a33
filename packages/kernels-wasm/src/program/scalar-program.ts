import {
  checkProgram, checkProgramInput, isLowbitError, LowbitError, quantizeRows, roundToFloat16, stepName,
  type CacheShape, type HostTensor, type Program, type ProgramBindings, type ProgramInput, type ProgramStep, type SyncCompiledProgram, type SyncProgramCompiler,
} from '@lowbit/core'
import { disposed } from '../checks.js'
import { floatProduct, integerProduct, ScalarWeights, weightAt, type ScalarMatrix } from '../scalar-products.js'
import { exp, gelu, relu2, silu, tanh, total } from './scalar-math.js'
import { ACTIVATIONS, PROGRAMS } from './supports.js'

const f = Math.fround

/** Programs by plain loops that round exactly as the SIMD kernels do, so that all tiers give the same bits. */
export function scalarPrograms(alive: () => boolean): SyncProgramCompiler {
  return {
    compile: (program, bindings) => {
      if (!alive()) throw disposed('kernel provider')
      checkProgram(program, { matrices: bindings.matrices, vectors: bindings.vectors }, PROGRAMS, ACTIVATIONS)
      return new ScalarProgram(program, bindings, alive)
    },
  }
}

interface ScalarCache {
  readonly shape: CacheShape
  /** `[position, heads · size]`, as the cache gives them back. */
  readonly keys: Float32Array
  readonly values: Float32Array
}

class ScalarProgram implements SyncCompiledProgram {
  readonly program: Program
  readonly bytes: number
  readonly #weights: Readonly<Record<string, unknown>>
  readonly #vectors: Readonly<Record<string, Float32Array>>
  readonly #buffers = new Map<string, Float32Array<ArrayBuffer>>()
  readonly #caches = new Map<string, ScalarCache>()
  readonly #provider: () => boolean
  #disposed = false
  #rows = 0
  #wanted = 0
  #start = 0
  #tokens: ArrayLike<number> = []

  constructor(program: Program, bindings: ProgramBindings, provider: () => boolean) {
    this.program = program
    this.#provider = provider
    this.#weights = { ...bindings.matrices }
    this.#vectors = Object.fromEntries(Object.keys(program.vectors).map((name) => [name, Float32Array.from(bindings.vectors[name] ?? [])]))
    for (const name of Object.keys(program.matrices)) this.#matrix(name)
    for (const [name, { width, rows }] of Object.entries(program.buffers)) this.#buffers.set(name, allocate(width * (rows === 'wanted' ? program.wanted : program.rows)))
    for (const [name, shape] of Object.entries(program.caches)) {
      const count = program.context * shape.heads * shape.size
      this.#caches.set(name, { shape, keys: allocate(count), values: allocate(count) })
    }
    const held = [...Object.values(this.#vectors), ...this.#buffers.values(), ...[...this.#caches.values()].flatMap(({ keys, values }) => [keys, values])]
    this.bytes = held.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }

  run(input: ProgramInput): HostTensor<'float32'> {
    this.#expectAlive()
    const { rows, wanted, start, tokens } = checkProgramInput(this.program, input)
    this.#rows = rows
    this.#wanted = wanted
    this.#start = start
    this.#tokens = tokens ?? []
    for (const [name, values] of Object.entries(input.buffers ?? {})) this.#values(name).set(values)
    this.program.steps.forEach((step, index) => {
      try {
        this.#step(step)
      } catch (cause) {
        if (!isLowbitError(cause, 'LOWBIT_NONFINITE')) throw cause
        throw new LowbitError('LOWBIT_NONFINITE', { ...cause.parts, thing: `${stepName(step, index)}: ${cause.parts.thing}`, cause })
      }
    })
    return this.#copy(this.program.output)
  }

  read(buffer: string): HostTensor<'float32'> {
    this.#expectAlive()
    if (!this.#buffers.has(buffer)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'program', found: `buffer ${buffer} is not declared`, expected: [...this.#buffers.keys()].slice(0, 20).join(', ') })
    return this.#copy(buffer)
  }

  dispose(): void {
    this.#disposed = true
    this.#buffers.clear()
    this.#caches.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #step(step: ProgramStep): void {
    switch (step.op) {
      case 'embed': {
        const matrix = this.#matrix(step.matrix)
        const by = f(step.by ?? 1)
        this.#fill(step.to, (i, k) => weightAt(matrix, this.#tokens[i] ?? 0, k) * by)
        return
      }
      case 'norm': return this.#norm(step)
      case 'linear': return this.#linear(step)
      case 'rope': return this.#rope(step)
      case 'append': {
        const { shape, keys, values } = this.#cache(step.cache)
        const at = this.#start * shape.heads * shape.size
        keys.set(held(shape, this.#values(step.keys)), at)
        values.set(held(shape, this.#values(step.values)), at)
        return
      }
      case 'attention': return this.#attention(step)
      case 'gate': {
        const activate = { silu, gelu, relu2 }[step.activation]
        const [gate, up] = [this.#values(step.gate), this.#values(step.up)]
        return this.#values(step.to).set(gate.map((v, i) => activate(v) * (up[i] ?? 0)))
      }
      case 'add': {
        const b = this.#values(step.b)
        return this.#values(step.to).set(this.#values(step.a).map((v, i) => v + (b[i] ?? 0)))
      }
      case 'scale': {
        const by = f(step.by)
        return this.#values(step.to).set(this.#values(step.from).map((v) => v * by))
      }
      case 'softcap': {
        const cap = f(step.cap)
        return this.#values(step.to).set(this.#values(step.from).map((v) => cap * tanh(f(v / cap))))
      }
      case 'copy': return this.#values(step.to).set(this.#values(step.from))
      case 'select': return this.#values(step.to).set(this.#values(step.from).subarray((this.#rows - this.#wanted) * this.#width(step.from)))
    }
  }

  #norm({ from, to, epsilon, gain, segments = 1 }: Extract<ProgramStep, { op: 'norm' }>): void {
    const x = this.#values(from)
    const y = this.#values(to)
    const size = this.#width(from) / segments
    const gains = gain === undefined ? undefined : this.#vectors[gain]
    for (let first = 0; first < x.length; first += size) {
      const lanes = new Float32Array(8)
      for (let i = 0; i < size; i++) lanes[i & 7] = (lanes[i & 7] ?? 0) + f((x[first + i] ?? 0) * (x[first + i] ?? 0))
      const squares = total(Float32Array.from({ length: 4 }, (_, lane) => (lanes[lane] ?? 0) + (lanes[lane + 4] ?? 0)))
      const factor = f(1 / f(Math.sqrt(f(f(squares / size) + f(epsilon)))))
      for (let i = 0; i < size; i++) {
        const v = f((x[first + i] ?? 0) * factor)
        y[first + i] = gains === undefined ? v : v * (gains[i] ?? 0)
      }
    }
  }

  #linear({ from, products, activations }: Extract<ProgramStep, { op: 'linear' }>): void {
    const columns = this.#width(from)
    const data = this.#values(from)
    if (data.length === 0) return
    const x: HostTensor<'float32'> = { dtype: 'float32', shape: [data.length / columns, columns], data }
    for (const { matrix: name, bias, to } of products) {
      const matrix = this.#matrix(name)
      const biases = bias === undefined ? undefined : this.#vectors[bias]
      if (matrix.format === undefined || activations === 'float32') floatProduct(data, matrix, data.length / columns, biases, this.#values(to))
      else integerProduct(x, matrix, matrix.format, activations ?? 'int8', biases, this.#values(to))
    }
  }

  #rope({ buffer, heads, rotated, cos, sin, style }: Extract<ProgramStep, { op: 'rope' }>): void {
    const x = this.#values(buffer)
    const size = this.#width(buffer) / heads
    const half = rotated / 2
    const [cosines, sines] = [this.#vectors[cos], this.#vectors[sin]]
    for (let part = 0; part < this.#rows * heads; part++) {
      const table = (this.#start + Math.floor(part / heads)) * half
      for (let i = 0; i < half; i++) {
        const a = part * size + (style === 'halves' ? i : 2 * i)
        const b = a + (style === 'halves' ? half : 1)
        const [c = 0, s = 0] = [cosines?.[table + i], sines?.[table + i]]
        const [first = 0, second = 0] = [x[a], x[b]]
        x[a] = f(first * c) - f(second * s)
        x[b] = f(second * c) + f(first * s)
      }
    }
  }

  #attention({ queries, cache, to, heads, scale, window = 0, softcap }: Extract<ProgramStep, { op: 'attention' }>): void {
    const { shape, keys, values } = this.#cache(cache)
    const { size } = shape
    const stride = shape.heads * size
    const [q, y] = [this.#values(queries), this.#values(to)]
    const [by, cap] = [f(scale), softcap === undefined ? 0 : f(softcap)]
    for (let item = 0; item < this.#rows * heads; item++) {
      const position = this.#start + Math.floor(item / heads)
      const first = window > 0 ? Math.max(0, position - window + 1) : 0
      const shared = Math.floor(((item % heads) * shape.heads) / heads) * size
      const weights = new Float32Array(position - first + 1)
      for (let p = first; p <= position; p++) {
        let score = 0
        for (let i = 0; i < size; i++) score = f(score + f((q[item * size + i] ?? 0) * (keys[p * stride + shared + i] ?? 0)))
        score = f(score * by)
        weights[p - first] = cap > 0 ? cap * tanh(f(score / cap)) : score
      }
      const top = weights.reduce((most, score) => Math.max(most, score), -Infinity)
      const lanes = new Float32Array(4)
      weights.forEach((score, i) => {
        const weight = exp(f(score - top))
        weights[i] = weight
        // lanes by position: sums begin at a multiple of 32
        lanes[(first + i) & 3] = (lanes[(first + i) & 3] ?? 0) + weight
      })
      const inverse = f(1 / total(lanes))
      const sums = new Float32Array(size)
      weights.forEach((weight, i) => {
        const share = f(weight * inverse)
        for (let d = 0; d < size; d++) sums[d] = (sums[d] ?? 0) + f(share * (values[(first + i) * stride + shared + d] ?? 0))
      })
      y.set(sums, item * size)
    }
  }

  #expectAlive(): void {
    if (this.#disposed) throw disposed('compiled program')
    if (!this.#provider()) throw disposed('kernel provider')
    for (const name of Object.keys(this.program.matrices)) this.#matrix(name)
  }

  #width(buffer: string): number {
    return this.program.buffers[buffer]?.width ?? 0
  }

  /** The rows of this run. */
  #values(buffer: string): Float32Array<ArrayBuffer> {
    const rows = this.program.buffers[buffer]?.rows === 'wanted' ? this.#wanted : this.#rows
    return (this.#buffers.get(buffer) ?? new Float32Array()).subarray(0, rows * this.#width(buffer))
  }

  #fill(buffer: string, value: (row: number, column: number) => number): void {
    const width = this.#width(buffer)
    const to = this.#values(buffer)
    for (let i = 0; i < to.length; i++) to[i] = value(Math.floor(i / width), i % width)
  }

  #copy(buffer: string): HostTensor<'float32'> {
    const data = Float32Array.from(this.#values(buffer))
    return { dtype: 'float32', shape: [data.length / this.#width(buffer), this.#width(buffer)], data }
  }

  #cache(name: string): ScalarCache {
    const cache = this.#caches.get(name)
    if (cache === undefined) throw disposed('compiled program')
    return cache
  }

  #matrix(name: string): ScalarMatrix {
    const weights = this.#weights[name]
    const matrix = weights instanceof ScalarWeights ? weights.matrix : undefined
    if (matrix === undefined) throw disposed(`weights of matrix ${name} (or weights of another provider)`)
    return matrix
  }
}

/** @throws LOWBIT_LIMIT */
function allocate(length: number): Float32Array<ArrayBuffer> {
  try {
    return new Float32Array(length)
  } catch (cause) {
    throw new LowbitError('LOWBIT_LIMIT', { thing: 'program', found: `${length * 4} bytes asked for`, expected: 'what this engine can allocate', fix: 'use a shorter context or fewer rows', cause })
  }
}

/** Rows of keys or values as a cache gives them back. @throws LOWBIT_NONFINITE for int8 */
function held({ size, type }: CacheShape, rows: Float32Array<ArrayBuffer>): Float32Array {
  if (type === 'float32') return rows
  if (type === 'float16') return rows.map((v) => roundToFloat16(Math.min(Math.max(v, -65504), 65504)))
  const { codes, scales } = quantizeRows({ dtype: 'float32', shape: [rows.length / size, size], data: rows })
  return Float32Array.from(codes, (code, i) => code * (scales[Math.floor(i / size)] ?? 0))
}
