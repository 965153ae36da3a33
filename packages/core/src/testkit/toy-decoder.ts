import type { KernelActivations } from '../contract/v2/kernels.js'
import type { CacheType, Program, ProgramStep } from '../contract/v2/programs.js'
import type { GroupedTensor } from '../grouped-tensor.js'
import type { ReferenceWeights } from '../reference/program.js'
import { toyNormal, toyRandom } from './toy-random.js'

/** A decoder of random weights: its sizes, and which of the steps that models have it uses. */
export interface ToyDecoderOptions {
  readonly layers?: number
  readonly width?: number
  readonly heads?: number
  readonly cacheHeads?: number
  readonly hidden?: number
  readonly vocabulary?: number
  readonly context?: number
  readonly rows?: number
  readonly wanted?: number
  readonly cache?: CacheType
  readonly window?: number
  readonly activation?: 'silu' | 'gelu' | 'relu2'
  readonly activations?: KernelActivations
  /** Norms of queries and keys, biases of q/k/v, a sub-norm before the last product of each half, a cap on the logits. */
  readonly extras?: boolean
  readonly seed?: number
  /** Makes a matrix `[n, k]`. Default normal floats. */
  readonly weights?: (name: string, n: number, k: number, seed: number) => ReferenceWeights
}

export interface ToyDecoder {
  readonly program: Program
  readonly matrices: Readonly<Record<string, ReferenceWeights>>
  readonly vectors: Readonly<Record<string, Float32Array>>
}

/** A program like that of a llama model, with an embedding that is tied to the head. */
export function toyDecoder(options: ToyDecoderOptions = {}): ToyDecoder {
  const { layers = 2, width = 64, heads = 4, cacheHeads = 2, hidden = 96, vocabulary = 50, context = 40, rows = 16, wanted = rows, cache = 'float32', window, activation = 'silu', activations, extras = false, seed = 1, weights = toyFloats } = options
  const size = width / heads
  const matrices: Record<string, ReferenceWeights> = {}
  const shapes: Record<string, { rows: number; columns: number }> = {}
  const vectors: Record<string, Float32Array> = {}
  const steps: ProgramStep[] = []
  let made = seed * 1000
  const matrix = (name: string, n: number, k: number): string => {
    matrices[name] = weights(name, n, k, made++)
    shapes[name] = { rows: n, columns: k }
    return name
  }
  const vector = (name: string, length: number, middle = 1): string => {
    const random = toyRandom(made++)
    vectors[name] = Float32Array.from({ length }, () => middle + 0.2 * toyNormal(random))
    return name
  }
  const tables = rotations(context, size)
  Object.assign(vectors, tables)
  const int8 = activations === undefined ? {} : { activations }
  matrix('embedding', vocabulary, width)
  steps.push({ op: 'embed', matrix: 'embedding', to: 'x' })
  for (let layer = 0; layer < layers; layer++) {
    const n = (name: string): string => `${layer}.${name}`
    const bias = (name: string, length: number): { bias?: string } => (extras ? { bias: vector(n(`${name}.bias`), length, 0) } : {})
    steps.push({ op: 'norm', from: 'x', to: 'h', epsilon: 1e-5, gain: vector(n('gain'), width) })
    steps.push({ op: 'linear', from: 'h', ...int8, products: [
      { matrix: matrix(n('q'), width, width), to: 'q', ...bias('q', width) },
      { matrix: matrix(n('k'), cacheHeads * size, width), to: 'k', ...bias('k', cacheHeads * size) },
      { matrix: matrix(n('v'), cacheHeads * size, width), to: 'v', ...bias('v', cacheHeads * size) },
    ] })
    if (extras) {
      steps.push({ op: 'norm', from: 'q', to: 'q', epsilon: 1e-6, gain: vector(n('qgain'), size), segments: heads })
      steps.push({ op: 'norm', from: 'k', to: 'k', epsilon: 1e-6, gain: vector(n('kgain'), size), segments: cacheHeads })
    }
    for (const [buffer, count] of [['q', heads], ['k', cacheHeads]] as const) steps.push({ op: 'rope', buffer, heads: count, rotated: size, cos: 'cos', sin: 'sin', style: extras ? 'interleaved' : 'halves' })
    steps.push({ op: 'append', cache: n('cache'), keys: 'k', values: 'v' })
    steps.push({ op: 'attention', queries: 'q', cache: n('cache'), to: 'a', heads, scale: 1 / Math.sqrt(size), ...(window === undefined ? {} : { window }) })
    if (extras) steps.push({ op: 'norm', from: 'a', to: 'a', epsilon: 1e-5, gain: vector(n('subgain'), width) })
    steps.push({ op: 'linear', from: 'a', ...int8, products: [{ matrix: matrix(n('o'), width, width), to: 'h' }] })
    steps.push({ op: 'add', a: 'x', b: 'h', to: 'x' })
    steps.push({ op: 'norm', from: 'x', to: 'h', epsilon: 1e-5, gain: vector(n('gain2'), width) })
    steps.push({ op: 'linear', from: 'h', ...int8, products: [{ matrix: matrix(n('gate'), hidden, width), to: 'gate' }, { matrix: matrix(n('up'), hidden, width), to: 'up' }] })
    steps.push({ op: 'gate', gate: 'gate', up: 'up', to: 'gate', activation })
    if (extras) steps.push({ op: 'norm', from: 'gate', to: 'gate', epsilon: 1e-5, gain: vector(n('subgain2'), hidden) })
    steps.push({ op: 'linear', from: 'gate', ...int8, products: [{ matrix: matrix(n('down'), width, hidden), to: 'h' }] })
    steps.push({ op: 'add', a: 'x', b: 'h', to: 'x' })
  }
  steps.push({ op: 'select', from: 'x', to: 'last' })
  steps.push({ op: 'norm', from: 'last', to: 'last', epsilon: 1e-5, gain: vector('gain', width) })
  steps.push({ op: 'linear', from: 'last', ...int8, products: [{ matrix: 'embedding', to: 'logits' }] })
  if (extras) steps.push({ op: 'softcap', from: 'logits', to: 'logits', cap: 30 })
  return {
    matrices, vectors,
    program: {
      rows, wanted, context, steps, matrices: shapes, output: 'logits',
      vectors: Object.fromEntries(Object.entries(vectors).map(([name, values]) => [name, values.length])),
      buffers: { x: { width }, h: { width }, q: { width }, k: { width: cacheHeads * size }, v: { width: cacheHeads * size }, a: { width }, gate: { width: hidden }, up: { width: hidden }, last: { width, rows: 'wanted' }, logits: { width: vocabulary, rows: 'wanted' } },
      caches: Object.fromEntries(Array.from({ length: layers }, (_, layer) => [`${layer}.cache`, { heads: cacheHeads, size, type: cache }])),
    },
  }
}

/** `cos` and `sin`, `[context, size / 2]`, of the angles of rotary embeddings (Su et al. 2021) with base 10,000. */
function rotations(context: number, size: number): { cos: Float32Array; sin: Float32Array } {
  const half = size / 2
  const angle = (i: number): number => Math.floor(i / half) * 10000 ** (-(i % half) / half)
  const length = context * half
  return { cos: Float32Array.from({ length }, (_, i) => Math.cos(angle(i))), sin: Float32Array.from({ length }, (_, i) => Math.sin(angle(i))) }
}

/** Normal floats of variance 1 / K. */
export function toyFloats(_: string, n: number, k: number, seed: number): ReferenceWeights {
  const random = toyRandom(seed)
  return { dtype: 'float32', shape: [n, k], data: Float32Array.from({ length: n * k }, () => toyNormal(random) / Math.sqrt(k)) }
}

export interface ToyGroupedOptions {
  readonly group?: number
  /** Least and greatest code. Default 0 and 15. */
  readonly range?: readonly [number, number]
  readonly minima?: boolean
  readonly levels?: Int8Array
}

/** Codes over their whole range, the scales such that values have a variance of about 1 / K. */
export function toyGrouped(n: number, k: number, seed: number, options: ToyGroupedOptions = {}): GroupedTensor {
  const { group = 32, levels, minima = false } = options
  const [low, high] = levels === undefined ? (options.range ?? [0, 15]) : [0, levels.length - 1]
  const random = toyRandom(seed)
  const codes = low < 0 ? new Int8Array(n * k) : new Uint8Array(n * k)
  for (let i = 0; i < codes.length; i++) codes[i] = low + Math.floor(random() * (high - low + 1))
  const length = n * Math.ceil(k / group)
  const spread = levels === undefined ? (high - low) / 3.5 : Math.max(...levels) / 2
  const scales = Float32Array.from({ length }, () => ((0.5 + random()) / Math.sqrt(k) / spread) * (minima || random() < 0.8 ? 1 : -1))
  if (!minima) return { shape: [n, k], codes, group, scales, ...(levels === undefined ? {} : { levels }) }
  const middle = (low + high) / 2
  return { shape: [n, k], codes, group, scales, minima: scales.map((scale) => -scale * (middle + random() - 0.5)), ...(levels === undefined ? {} : { levels }) }
}
