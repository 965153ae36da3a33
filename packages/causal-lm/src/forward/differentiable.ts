import { checkProgram, LowbitError, stepName, type Ops, type Program, type ProgramStep } from '@lowbit/core'

type Step<Op extends ProgramStep['op']> = Extract<ProgramStep, { readonly op: Op }>

/** What the names of a program stand for in a backend: its tensors. */
export interface DifferentiableBindings<T> {
  /** A matrix `[N, K]`, float or fake-quantized; asked for each time it is used. */
  matrix(name: string): T
  /** A gain or bias; tables of rotations as they are. */
  vector(name: string): T
  /** `x · wᵀ` for each matrix that reads x. Absent: with {@link matrix}. For adapters, weights that stay codes, rounded inputs. */
  products?(matrices: readonly string[], x: T): readonly T[]
  /** Rows of the embedding `[tokens, width]`. Absent: from {@link matrix}. */
  rows?(matrix: string, tokens: readonly number[]): T
  /** Masks and tables, which are the same in every run: made once by who keeps them. Absent: made each time. */
  constant?(name: string, make: () => T): T
}

/** Some steps of a program: gradients a piece at a time need little memory. */
export interface ProgramPart<T> {
  /** First step, and the one after the last. Default: all. */
  readonly from?: number
  readonly to?: number
  /** What buffers hold before the first step. */
  readonly buffers?: Readonly<Record<string, T>>
  /** Looks at what a step wrote. */
  readonly after?: (step: ProgramStep, where: string, read: (buffer: string) => T) => void
}

export interface DifferentiableRun<T> {
  /** `[B · W, width]` of the program's output. */
  readonly output: T
  /** A buffer as the last step left it, `[B · R, width]`. */
  read(buffer: string): T
}

/**
 * Runs a program over a backend's differentiable operations: whole sequences of equal length, from position 0, without a cache.
 * `activations: 'int8'` of a step is left to the bindings, since rounding wants an estimator of its own.
 * @param tokens one list a sequence
 * @param wanted the last so many positions of each sequence
 * @param part some of the steps alone; the output is there only if they write it
 * @throws LOWBIT_SHAPE, LOWBIT_LIMIT, LOWBIT_DATA
 */
export function runDifferentiable<T>(ops: Ops<T>, program: Program, bindings: DifferentiableBindings<T>, tokens: readonly (readonly number[])[], wanted: number, part: ProgramPart<T> = {}): DifferentiableRun<T> {
  const rows = tokens[0]?.length ?? 0
  const batch = tokens.length
  if (rows === 0 || tokens.some(({ length }) => length !== rows)) throw new LowbitError('LOWBIT_SHAPE', { thing: 'tokens', found: `sequences of ${[...new Set(tokens.map(({ length }) => length))].join(', ') || 'no'} tokens`, expected: 'one length for all, at least 1' })
  if (rows > program.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'tokens', found: `${rows} positions`, expected: `at most ${program.context}` })
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > rows) throw new LowbitError('LOWBIT_LIMIT', { thing: 'wanted positions', found: String(wanted), expected: `1 to ${rows}` })
  // Sizes against the program's own declarations; what is bound is checked by the operations themselves.
  checkProgram(program, { matrices: program.matrices, vectors: Object.fromEntries(Object.entries(program.vectors).map(([name, length]) => [name, { length }])) })
  const { from = 0, to = program.steps.length, buffers = {} } = part
  const run = new Run(ops, program, bindings, tokens, batch, rows, wanted, new Map(Object.entries(buffers)))
  const read = (buffer: string): T => run.read(buffer)
  for (let index = from; index < to; index++) {
    const step = program.steps[index]
    run.step(step, stepName(step, index))
    part.after?.(step, stepName(step, index), read)
  }
  return { get output() { return read(program.output) }, read }
}

class Run<T> {
  readonly #ops: Ops<T>
  readonly #program: Program
  readonly #bindings: DifferentiableBindings<T>
  readonly #tokens: readonly (readonly number[])[]
  readonly #batch: number
  readonly #rows: number
  readonly #wanted: number
  readonly #buffers: Map<string, T>
  /** Keys and values `[B · R, heads · size]` that were appended in this run. */
  readonly #caches = new Map<string, { readonly keys: T; readonly values: T }>()

  constructor(ops: Ops<T>, program: Program, bindings: DifferentiableBindings<T>, tokens: readonly (readonly number[])[], batch: number, rows: number, wanted: number, buffers: Map<string, T>) {
    this.#ops = ops
    this.#buffers = buffers
    this.#program = program
    this.#bindings = bindings
    this.#tokens = tokens
    this.#batch = batch
    this.#rows = rows
    this.#wanted = wanted
  }

  read(buffer: string): T {
    const found = this.#buffers.get(buffer)
    if (found === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'program', found: `buffer ${buffer} is read before it is written` })
    return found
  }

  step(step: ProgramStep, where: string): void {
    const ops = this.#ops
    const write = (to: string, value: T): void => void this.#buffers.set(to, value)
    switch (step.op) {
      case 'embed': return write(step.to, this.#embed(step, where))
      case 'norm': return write(step.to, this.#norm(step))
      case 'linear': {
        const x = this.read(step.from)
        const names = step.products.map(({ matrix }) => matrix)
        const products = this.#bindings.products?.(names, x) ?? names.map((name) => ops.matmul(x, this.#bindings.matrix(name), false, true))
        for (const [i, { bias, to }] of step.products.entries()) write(to, bias === undefined ? products[i] : ops.add(products[i], this.#bindings.vector(bias)))
        return
      }
      case 'rope': return write(step.buffer, this.#rope(step))
      case 'append': {
        this.#caches.set(step.cache, { keys: this.read(step.keys), values: this.read(step.values) })
        return
      }
      case 'attention': return write(step.to, this.#attention(step))
      case 'gate': return write(step.to, ops.mul(this.#activated(this.read(step.gate), step.activation), this.read(step.up)))
      case 'add': return write(step.to, ops.add(this.read(step.a), this.read(step.b)))
      case 'scale': return write(step.to, ops.mul(this.read(step.from), ops.constant(step.by)))
      case 'softcap': return write(step.to, this.#capped(this.read(step.from), step.cap))
      case 'copy': return write(step.to, this.read(step.from))
      case 'select': {
        const width = this.#width(step.from)
        const all = ops.reshape(this.read(step.from), [this.#batch, this.#rows, width])
        return write(step.to, ops.reshape(ops.slice(all, [0, this.#rows - this.#wanted, 0], [this.#batch, this.#wanted, width]), [this.#batch * this.#wanted, width]))
      }
    }
  }

  #width(buffer: string): number {
    return this.#program.buffers[buffer].width
  }

  #embed({ matrix, by = 1 }: Step<'embed'>, where: string): T {
    const { rows: vocabulary } = this.#program.matrices[matrix]
    const tokens = this.#tokens.flat()
    const wrong = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= vocabulary)
    if (wrong >= 0) throw new LowbitError('LOWBIT_DATA', { thing: `${where}: token ${wrong}`, found: String(tokens[wrong]), expected: `0 to ${vocabulary - 1}` })
    const rows = this.#bindings.rows?.(matrix, tokens) ?? this.#ops.gather(this.#bindings.matrix(matrix), tokens)
    return by === 1 ? rows : this.#ops.mul(rows, this.#ops.constant(by))
  }

  #constant(name: string, make: () => T): T {
    return this.#bindings.constant?.(name, make) ?? make()
  }

  #norm({ from, epsilon, gain, segments = 1 }: Step<'norm'>): T {
    const ops = this.#ops
    const x = this.read(from)
    const shape = ops.shape(x)
    const parts = ops.reshape(x, [shape[0], segments, shape[1] / segments])
    const factor = ops.sqrt(ops.add(ops.mean(ops.mul(parts, parts), [2], true), ops.constant(epsilon)))
    const normed = ops.div(parts, factor)
    return ops.reshape(gain === undefined ? normed : ops.mul(normed, this.#bindings.vector(gain)), shape)
  }

  #rope({ buffer, heads, rotated, cos, sin, style }: Step<'rope'>): T {
    const ops = this.#ops
    const width = this.#width(buffer)
    const size = width / heads
    const [batch, rows] = [this.#batch, this.#rows]
    const table = (name: string): T => ops.slice(ops.reshape(this.#bindings.vector(name), [this.#program.context, rotated / 2]), [0, 0], [rows, rotated / 2])
    // [R, pairs] to [R, 1, size]: each angle stands at both floats of its pair; what is not rotated has cosine 1, sine 0.
    const spread = (t: T, rest: number): T => ops.reshape(ops.add(ops.matmul(t, ops.constant(this.#pairs(rotated, size, style), [rotated / 2, size])), ops.constant(restOf(rotated, size, rest), [1, size])), [rows, 1, size])
    const x = ops.reshape(this.read(buffer), [batch, rows, heads, size])
    const what = `${rows} ${rotated} of ${size} ${style}`
    const turn = this.#constant(`turn ${what}`, () => ops.constant(this.#turn(rotated, size, style), [size, size]))
    const partners = ops.reshape(ops.matmul(ops.reshape(x, [batch * rows * heads, size]), turn), [batch, rows, heads, size])
    const cosines = this.#constant(`${cos} ${what}`, () => spread(table(cos), 1))
    const sines = this.#constant(`${sin} ${what}`, () => spread(table(sin), 0))
    const turned = ops.add(ops.mul(x, cosines), ops.mul(partners, sines))
    return ops.reshape(turned, [batch * rows, width])
  }

  /** `[pairs, size]`: 1 where a float belongs to a pair. */
  #pairs(rotated: number, size: number, style: Step<'rope'>['style']): Float32Array {
    const out = new Float32Array((rotated / 2) * size)
    for (let i = 0; i < rotated / 2; i++) for (const at of pairAt(i, rotated, style)) out[i * size + at] = 1
    return out
  }

  /** `x · turn` holds at each float of a pair (a, b) its partner: −b at a, a at b. */
  #turn(rotated: number, size: number, style: Step<'rope'>['style']): Float32Array {
    const out = new Float32Array(size * size)
    for (let i = 0; i < rotated / 2; i++) {
      const [a, b] = pairAt(i, rotated, style)
      out[b * size + a] = -1
      out[a * size + b] = 1
    }
    return out
  }

  #attention({ queries, cache, heads, scale, window = Infinity, softcap }: Step<'attention'>): T {
    const ops = this.#ops
    const [batch, rows] = [this.#batch, this.#rows]
    const { heads: kvHeads, size } = this.#program.caches[cache]
    const held = this.#caches.get(cache)
    if (held === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'program', found: `cache ${cache} is read before anything is appended` })
    const shared = heads / kvHeads
    // Queries that read one head of keys stand below each other: [B · KV, shared · R, size].
    const q = ops.reshape(ops.transpose(ops.reshape(this.read(queries), [batch, rows, kvHeads, shared, size]), [0, 2, 3, 1, 4]), [batch * kvHeads, shared * rows, size])
    const head = (x: T): T => ops.reshape(ops.transpose(ops.reshape(x, [batch, rows, kvHeads, size]), [0, 2, 1, 3]), [batch * kvHeads, rows, size])
    // Scaling the queries touches fewer values than scaling the scores.
    const scores = ops.matmul(ops.mul(q, ops.constant(scale)), head(held.keys), false, true)
    const mask = this.#constant(`mask ${rows} ${shared} ${window}`, () => ops.constant(maskOf(rows, shared, window), [1, shared * rows, rows]))
    const masked = ops.add(softcap === undefined ? scores : this.#capped(scores, softcap), mask)
    const mixed = ops.matmul(ops.softmax(masked), head(held.values))
    return ops.reshape(ops.transpose(ops.reshape(mixed, [batch, kvHeads, shared, rows, size]), [0, 3, 1, 2, 4]), [batch * rows, heads * size])
  }

  #capped(x: T, cap: number): T {
    const ops = this.#ops
    return ops.mul(ops.tanh(ops.div(x, ops.constant(cap))), ops.constant(cap))
  }

  #activated(x: T, activation: Step<'gate'>['activation']): T {
    const ops = this.#ops
    if (activation === 'relu2') {
      const positive = ops.maximum(x, ops.constant(0))
      return ops.mul(positive, positive)
    }
    // x · sigmoid(x) = x/2 · (1 + tanh(x/2)): an exponential would overflow for large negative x.
    const inner = activation === 'silu' ? ops.mul(x, ops.constant(0.5)) : ops.mul(ops.add(x, ops.mul(ops.mul(ops.mul(x, x), x), ops.constant(0.044715))), ops.constant(Math.sqrt(2 / Math.PI)))
    return ops.mul(ops.mul(x, ops.constant(0.5)), ops.add(ops.constant(1), ops.tanh(inner)))
  }
}

const pairAt = (i: number, rotated: number, style: Step<'rope'>['style']): readonly [number, number] => (style === 'halves' ? [i, i + rotated / 2] : [2 * i, 2 * i + 1])

function restOf(rotated: number, size: number, value: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => (i < rotated ? 0 : value))
}

/** 0 where a query may look, else a number that its exponential does not survive. */
function maskOf(rows: number, shared: number, window: number): Float32Array {
  const mask = new Float32Array(shared * rows * rows)
  for (let s = 0; s < shared; s++) {
    for (let q = 0; q < rows; q++) for (let k = 0; k < rows; k++) if (k > q || k <= q - window) mask[(s * rows + q) * rows + k] = -1e30
  }
  return mask
}
