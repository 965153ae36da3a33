import { stepName, type CacheShape, type Program, type ProgramStep } from '@lowbit/core'
import { isFloat, jobKind, type Format } from '../format.js'
import { JOB_WORDS, type Job } from '../job.js'
import type { PackedMatrix } from '../packed-matrix.js'
import { CACHE_TYPES, OPS, PHASES, STEP_BYTES, type StepWords } from './steps.js'

/** An address in the memory of a program, from its beginning; what the plan says is moved once that is known. */
export type Offset = number

/** Room for a buffer: rows `stride` bytes apart. */
interface Room {
  readonly at: Offset
  readonly stride: number
  readonly width: number
  readonly wanted: boolean
}

export interface PlannedPhase {
  readonly kind: number
  readonly wanted: boolean
  /** Makes the words once it is known where the program's memory begins. */
  readonly steps: ((base: number) => StepWords)[]
}

/** A cache and its words, addresses as offsets. */
export interface PlannedCache {
  readonly at: Offset
  readonly shape: CacheShape
  readonly capacity: number
  readonly padded: number
  readonly keys: Offset
  readonly values: Offset
  readonly keyScales: Offset
  readonly valueScales: Offset
}

export interface PlannedJob {
  readonly at: Offset
  words(base: number): Job
}

export interface Plan {
  readonly phases: readonly PlannedPhase[]
  readonly buffers: ReadonlyMap<string, Room>
  readonly vectors: ReadonlyMap<string, Offset>
  readonly caches: ReadonlyMap<string, PlannedCache>
  readonly jobs: readonly PlannedJob[]
  readonly header: Offset
  readonly phaseTable: Offset
  readonly steps: Offset
  readonly tokens: Offset
  readonly scratch: Offset
  readonly scratchStride: number
  readonly bytes: number
}

const line = (bytes: number): number => Math.ceil(bytes / 64) * 64
const eight = (n: number): number => Math.ceil(n / 8) * 8

/** Hands out addresses from 0 on. */
class Arena {
  #top = 0
  take(bytes: number): Offset {
    const at = this.#top
    this.#top += line(bytes)
    return at
  }
  get bytes(): number {
    return this.#top
  }
}

/** How quantized activations lie: what products with the same one share. */
interface Activations {
  readonly key: string
  readonly act: Offset
  readonly actStride: number
  readonly init: Offset
  readonly initStride: number
  readonly ends: Offset
}

/**
 * Lays a checked program out: buffers, caches and jobs get addresses, steps are put together in phases. Steps that work on
 * each row by itself stay in one phase for as long as they work on the same rows.
 */
export function planProgram(program: Program, matrices: ReadonlyMap<string, PackedMatrix>, threads: number): Plan {
  const arena = new Arena()
  const header = arena.take(64)
  const tokens = arena.take(program.rows * 4)
  const rowsOf = (wanted: boolean): number => eight(wanted ? program.wanted : program.rows)
  const buffers = new Map<string, Room>()
  for (const [name, { width, rows }] of Object.entries(program.buffers)) {
    const stride = line(width * 4)
    const wanted = rows === 'wanted'
    buffers.set(name, { at: arena.take(rowsOf(wanted) * stride), stride, width, wanted })
  }
  const vectors = new Map(Object.entries(program.vectors).map(([name, length]) => [name, arena.take(eight(length) * 4)]))
  const caches = new Map(Object.entries(program.caches).map(([name, shape]) => [name, planCache(shape, program.context, arena)]))
  const planner = new Planner(matrices, buffers, vectors, caches, arena, rowsOf)
  program.steps.forEach((step, index) => planner.add(step, index))
  const count = planner.phases.reduce((sum, phase) => sum + phase.steps.length, 0)
  const phaseTable = arena.take(planner.phases.length * 16)
  const steps = arena.take(count * STEP_BYTES)
  const scratchStride = line(Math.max(256, ...scratchSizes(matrices.values(), caches.values())))
  const scratch = arena.take(scratchStride * threads)
  return { phases: planner.phases, buffers, vectors, caches, jobs: planner.jobs, header, phaseTable, steps, tokens, scratch, scratchStride, bytes: arena.bytes }
}

function planCache(shape: CacheShape, context: number, arena: Arena): PlannedCache {
  const capacity = Math.ceil(context / 32) * 32
  const padded = eight(shape.size)
  const bytes = { float32: 4, float16: 2, int8: 1 }[shape.type]
  const positions = shape.heads * capacity
  const scales = shape.type === 'int8' ? positions * 4 : 0
  return { at: arena.take(64), shape, capacity, padded, keys: arena.take(positions * shape.size * bytes), values: arena.take(positions * padded * bytes), keyScales: arena.take(scales), valueScales: arena.take(scales) }
}

/** Bytes that a thread needs beside the buffers: see `gemm.ts`, `floats.ts` and `attention.ts` in assembly. */
function* scratchSizes(matrices: Iterable<PackedMatrix>, caches: Iterable<PlannedCache>): Generator<number> {
  for (const { format, columns } of matrices) yield 256 + format.groups * format.group * 16 + columns * 32
  for (const { capacity, padded } of caches) yield 4 * capacity * 4 + padded * 64 * 4 + 4 * padded * 4
}

class Planner {
  readonly phases: PlannedPhase[] = []
  readonly jobs: PlannedJob[] = []
  readonly #matrices: ReadonlyMap<string, PackedMatrix>
  readonly #buffers: ReadonlyMap<string, Room>
  readonly #vectors: ReadonlyMap<string, Offset>
  readonly #caches: ReadonlyMap<string, PlannedCache>
  readonly #arena: Arena
  readonly #rowsOf: (wanted: boolean) => number
  /** Activations of products, by where they lie among those of one step: steps take turns in the same memory. */
  readonly #turns: { size: number; at: Offset }[] = []
  readonly #tables = new Map<string, Offset>()

  constructor(matrices: ReadonlyMap<string, PackedMatrix>, buffers: ReadonlyMap<string, Room>, vectors: ReadonlyMap<string, Offset>, caches: ReadonlyMap<string, PlannedCache>, arena: Arena, rowsOf: (wanted: boolean) => number) {
    this.#matrices = matrices
    this.#buffers = buffers
    this.#vectors = vectors
    this.#caches = caches
    this.#arena = arena
    this.#rowsOf = rowsOf
  }

  add(step: ProgramStep, index: number): void {
    switch (step.op) {
      case 'embed': {
        const table = this.#table(step.matrix)
        return this.#row(step.to, (base) => ({ op: OPS.embed, ...this.#to(step.to, base), p1: base + table, f1: step.by ?? 1, step: index }))
      }
      case 'norm':
        return this.#row(step.to, (base) => ({ op: OPS.norm, ...this.#a(step.from, base), ...this.#to(step.to, base), n1: step.segments ?? 1, f1: step.epsilon, p1: step.gain === undefined ? 0 : base + this.#vector(step.gain), step: index }))
      case 'linear':
        return this.#linear(step, index)
      case 'rope':
        return this.#row(step.buffer, (base) => ({ op: OPS.rope, ...this.#a(step.buffer, base), n1: step.heads, n2: step.rotated, p1: base + this.#vector(step.cos), p2: base + this.#vector(step.sin), f2: step.style === 'interleaved' ? 1 : 0, whole2: true, step: index }))
      case 'append':
        return this.#row(step.keys, (base) => ({ op: OPS.append, ...this.#a(step.keys, base), ...this.#b(step.values, base), p1: base + this.#cache(step.cache).at, step: index }))
      case 'attention':
        this.phases.push({ kind: PHASES.attention, wanted: false, steps: [(base) => ({ op: OPS.attention, ...this.#a(step.queries, base), ...this.#to(step.to, base), n1: step.heads, n2: step.window ?? 0, f1: step.scale, f2: step.softcap ?? 0, p1: base + this.#cache(step.cache).at, step: index })] })
        return
      case 'gate':
        return this.#row(step.to, (base) => ({ op: OPS.gate, ...this.#a(step.gate, base), ...this.#b(step.up, base), ...this.#to(step.to, base), n1: { silu: 0, gelu: 1, relu2: 2 }[step.activation], step: index }))
      case 'add':
        return this.#row(step.to, (base) => ({ op: OPS.add, ...this.#a(step.a, base), ...this.#b(step.b, base), ...this.#to(step.to, base), step: index }))
      case 'scale':
        return this.#row(step.to, (base) => ({ op: OPS.scale, ...this.#a(step.from, base), ...this.#to(step.to, base), f1: step.by, step: index }))
      case 'softcap':
        return this.#row(step.to, (base) => ({ op: OPS.softcap, ...this.#a(step.from, base), ...this.#to(step.to, base), f1: step.cap, step: index }))
      case 'copy':
        return this.#row(step.to, (base) => ({ op: OPS.copy, ...this.#a(step.from, base), ...this.#to(step.to, base), step: index }))
      case 'select':
        return this.#row(step.to, (base) => ({ op: OPS.select, ...this.#a(step.from, base), ...this.#to(step.to, base), step: index }))
    }
  }

  /** A step that works on each row by itself, of the rows that a buffer has. */
  #row(buffer: string, words: (base: number) => StepWords): void {
    const { wanted } = this.#buffer(buffer)
    const last = this.phases[this.phases.length - 1]
    if (last?.kind === PHASES.rows && last.wanted === wanted) last.steps.push(words)
    else this.phases.push({ kind: PHASES.rows, wanted, steps: [words] })
  }

  #linear(step: Extract<ProgramStep, { op: 'linear' }>, index: number): void {
    const from = this.#buffer(step.from)
    const views: Activations[] = []
    const products: ((base: number) => StepWords)[] = []
    for (const { matrix: name, bias, to } of step.products) {
      const matrix = this.#matrix(name)
      const floats = isFloat(matrix.format) || step.activations === 'float32'
      const key = layoutKey(matrix.format)
      let view = floats ? undefined : views.find((v) => v.key === key)
      const first = !floats && view === undefined
      if (first) views.push((view = this.#activations(matrix.format, key, from.wanted, views.length)))
      const job = this.#job((base) => ({
        ...jobOf(matrix), m: 0, x: base + from.at, xStride: from.stride, out: base + this.#buffer(to).at, outStride: this.#buffer(to).stride,
        bias: bias === undefined ? 0 : base + this.#vector(bias), split: 0,
        act: base + (view?.act ?? 0), actStride: view?.actStride ?? 0, init: base + (view?.init ?? 0), initStride: view?.initStride ?? 0, ends: base + (view?.ends ?? 0), actGroups: step.activations === 'int8-group' ? 1 : 0,
      }))
      if (first) this.#row(step.from, (base) => ({ op: OPS.quantize, p1: base + job, step: index }))
      products.push((base) => ({ op: OPS.linear, n1: matrix.blocks, n2: floats ? 1 : 0, p1: base + job, step: index }))
    }
    this.phases.push({ kind: PHASES.products, wanted: from.wanted, steps: products })
  }

  /** Room for the `turn`-th kind of activations of a step. */
  #activations(format: Format, key: string, wanted: boolean, turn: number): Activations {
    const rows = this.#rowsOf(wanted)
    const padded = format.groups * format.group
    const actStride = line(padded * 2)
    const initStride = line(Math.max(format.groups, padded / format.sub) * 4)
    const sizes = [rows * actStride, rows * initStride, rows * format.groups * 8].map(line)
    const total = sizes.reduce((sum, size) => sum + size, 0)
    let room = this.#turns[turn]
    if (room === undefined || room.size < total) this.#turns[turn] = room = { size: total, at: this.#arena.take(total) }
    const [act = 0, init = 0] = sizes
    return { key, act: room.at, actStride, init: room.at + act, initStride, ends: room.at + act + init }
  }

  /** A matrix without a product: what `embed` reads. */
  #table(name: string): Offset {
    const known = this.#tables.get(name)
    if (known !== undefined) return known
    const matrix = this.#matrix(name)
    const at = this.#job(() => ({ ...jobOf(matrix), m: 0, x: 0, xStride: 0, out: 0, outStride: 0, bias: 0, split: 0, act: 0, actStride: 0, init: 0, initStride: 0, ends: 0, actGroups: 0 }))
    this.#tables.set(name, at)
    return at
  }

  #job(words: (base: number) => Job): Offset {
    const at = this.#arena.take(JOB_WORDS.length * 4)
    this.jobs.push({ at, words })
    return at
  }

  #a(buffer: string, base: number): { a: number; aStride: number; width: number } {
    const { at, stride, width } = this.#buffer(buffer)
    return { a: base + at, aStride: stride, width }
  }
  #b(buffer: string, base: number): { b: number; bStride: number } {
    const { at, stride } = this.#buffer(buffer)
    return { b: base + at, bStride: stride }
  }
  #to(buffer: string, base: number): { to: number; toStride: number; width: number } {
    const { at, stride, width } = this.#buffer(buffer)
    return { to: base + at, toStride: stride, width }
  }
  #buffer(name: string): Room {
    return present(this.#buffers.get(name), name)
  }
  #vector(name: string): Offset {
    return present(this.#vectors.get(name), name)
  }
  #cache(name: string): PlannedCache {
    return present(this.#caches.get(name), name)
  }
  #matrix(name: string): PackedMatrix {
    return present(this.#matrices.get(name), name)
  }
}

function present<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new RangeError(`${name} is not there: the program was not checked`)
  return value
}

/** Products whose activations lie the same way share them. */
function layoutKey(format: Format): string {
  const { groups, group, groupUsed, sub, offset, minima } = format
  return [jobKind(format), groups, group, groupUsed, sub, offset, minima].join()
}

function jobOf(matrix: PackedMatrix): Omit<Job, 'm' | 'x' | 'xStride' | 'act' | 'actStride' | 'init' | 'initStride' | 'ends' | 'actGroups' | 'bias' | 'out' | 'outStride' | 'split'> {
  const { format, columns, codes, blockBytes, scales, zeros } = matrix
  const { groups, group, groupUsed, sub, offset } = format
  return { kind: jobKind(format), groups, group, groupUsed, sub, offset, columns, codes: codes.at, blockBytes, scales: scales?.at ?? 0, zeros: zeros?.at ?? 0, minima: format.minima ? 1 : 0 }
}

/** The words of a cache. */
export function cacheWords(cache: PlannedCache, base: number): readonly number[] {
  const { shape, padded, capacity } = cache
  return [CACHE_TYPES[shape.type], shape.heads, shape.size, padded, capacity, base + cache.keys, base + cache.values, base + cache.keyScales, base + cache.valueScales]
}

export function nameOf(program: Program, index: number): string {
  const step = program.steps[index]
  return step === undefined ? `step ${index}` : stepName(step, index)
}
