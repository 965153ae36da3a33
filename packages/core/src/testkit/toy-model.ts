import { rotateRows } from '../linalg/hadamard.js'
import { toyNormal, toyRandom } from './toy-random.js'

/** A tensor inside the toy model. */
export interface ToyTensor {
  readonly shape: readonly number[]
  readonly data: Float32Array<ArrayBuffer>
}

/** A step of the toy model; names are tensors, `site`, `norm` name parameters. */
export type ToyNode =
  | { readonly op: 'embedding'; readonly site: string; readonly input: string; readonly output: string }
  | { readonly op: 'linear' | 'conv'; readonly site: string; readonly input: string; readonly output: string }
  | { readonly op: 'rms-norm' | 'layer-norm'; readonly norm: string; readonly input: string; readonly output: string }
  | { readonly op: 'relu' | 'pool'; readonly input: string; readonly output: string }
  | { readonly op: 'add' | 'silu-mul'; readonly input: string; readonly other: string; readonly output: string }

/** Weights `[N, K]` and what else a site has. */
export interface ToySite {
  readonly kind: 'linear' | 'conv' | 'embedding'
  readonly rows: number
  readonly columns: number
  readonly groups: number
  readonly columnsPerChannel: number
  readonly block: number
  readonly tiedTo?: string
}

/** What a transform left in front of the sites of a fold group. */
export type ToyInsert = { readonly kind: 'scale'; readonly scales: Float32Array } | { readonly kind: 'rotate'; readonly signs: Int8Array; readonly order: number }

/** Everything about the model that can change. */
export interface ToyState {
  readonly weights: Map<string, Float32Array>
  readonly biases: Map<string, Float32Array>
  readonly gains: Map<string, Float32Array>
  readonly inserts: Map<string, ToyInsert[]>
  /** True if the last norm subtracts the mean, as a layer norm does. */
  readonly centred: boolean
}

export const TOY_WIDTH = 16
const V = 12
const D = TOY_WIDTH

export const TOY_SITES: Readonly<Record<string, ToySite>> = {
  embed: { kind: 'embedding', rows: V, columns: D, groups: 1, columnsPerChannel: 1, block: 0 },
  conv: { kind: 'conv', rows: 8, columns: 18, groups: 2, columnsPerChannel: 9, block: 0 },
  reduce: { kind: 'linear', rows: D, columns: 8, groups: 1, columnsPerChannel: 1, block: 0 },
  v: { kind: 'linear', rows: 12, columns: D, groups: 1, columnsPerChannel: 1, block: 1 },
  gate: { kind: 'linear', rows: 40, columns: D, groups: 1, columnsPerChannel: 1, block: 1 },
  up: { kind: 'linear', rows: 40, columns: D, groups: 1, columnsPerChannel: 1, block: 1 },
  o: { kind: 'linear', rows: D, columns: 12, groups: 1, columnsPerChannel: 1, block: 1 },
  down: { kind: 'linear', rows: D, columns: 40, groups: 1, columnsPerChannel: 1, block: 1 },
  head: { kind: 'linear', rows: 10, columns: D, groups: 1, columnsPerChannel: 1, block: 2 },
  unembed: { kind: 'linear', rows: V, columns: D, groups: 1, columnsPerChannel: 1, block: 2, tiedTo: 'embed' },
}

/**
 * A gated MLP with a parallel low-rank path on top of an embedding and a grouped convolution:
 * every kind of site, of producer, and a tied weight, in as few steps as show them all.
 */
export const TOY_NODES: readonly ToyNode[] = [
  { op: 'embedding', site: 'embed', input: 'ids', output: 'e' },
  { op: 'conv', site: 'conv', input: 'image', output: 'features' },
  { op: 'relu', input: 'features', output: 'active' },
  { op: 'pool', input: 'active', output: 'pooled' },
  { op: 'linear', site: 'reduce', input: 'pooled', output: 'r' },
  { op: 'add', input: 'e', other: 'r', output: 'h' },
  { op: 'rms-norm', norm: 'norm1', input: 'h', output: 'n1' },
  { op: 'linear', site: 'v', input: 'n1', output: 'v.out' },
  { op: 'linear', site: 'gate', input: 'n1', output: 'gate.out' },
  { op: 'linear', site: 'up', input: 'n1', output: 'up.out' },
  { op: 'silu-mul', input: 'gate.out', other: 'up.out', output: 'm' },
  { op: 'linear', site: 'o', input: 'v.out', output: 'o.out' },
  { op: 'linear', site: 'down', input: 'm', output: 'down.out' },
  { op: 'add', input: 'h', other: 'o.out', output: 'h1' },
  { op: 'add', input: 'h1', other: 'down.out', output: 'h2' },
  { op: 'layer-norm', norm: 'norm2', input: 'h2', output: 'n2' },
  { op: 'linear', site: 'head', input: 'n2', output: 'scores' },
  { op: 'linear', site: 'unembed', input: 'h2', output: 'logits' },
]

export const TOY_OUTPUTS = ['scores', 'logits'] as const

/** Sites that share an input, and where its inverse scale can go. `rotates`: the producer's rows can be turned as well. */
export interface ToyFold {
  readonly tensor: string
  readonly sites: readonly string[]
  readonly channels: number
  readonly norm?: string
  readonly linear?: string
  readonly rotates?: boolean
  readonly reason?: string
}

export const TOY_FOLDS: readonly ToyFold[] = [
  { tensor: 'image', sites: ['conv'], channels: 4, reason: 'it is an input of the model' },
  { tensor: 'pooled', sites: ['reduce'], channels: 8, reason: 'it comes out of a pool' },
  { tensor: 'n1', sites: ['v', 'gate', 'up'], channels: D, norm: 'norm1' },
  { tensor: 'v.out', sites: ['o'], channels: 12, linear: 'v', rotates: true },
  { tensor: 'm', sites: ['down'], channels: 40, linear: 'up' },
  { tensor: 'n2', sites: ['head'], channels: D, norm: 'norm2' },
]

/** What runs through the model: read through norms or directly, and added to. */
export const TOY_STREAM = {
  id: 'residual:h',
  readers: [
    { site: 'v', norm: 'norm1' },
    { site: 'gate', norm: 'norm1' },
    { site: 'up', norm: 'norm1' },
    { site: 'head', norm: 'norm2' },
    { site: 'unembed', norm: undefined },
  ],
  writers: ['embed', 'reduce', 'o', 'down'],
  /** Inputs of its readers. */
  tensors: ['n1', 'n2'],
} as const

/** Fresh parameters. A few channels of the norms are loud, as in language models: there is something to smooth. */
export function toyState(seed: number, centred = true): ToyState {
  const random = toyRandom(seed)
  const normal = (n: number, scale: number, shift = 0): Float32Array => Float32Array.from({ length: n }, () => shift + scale * toyNormal(random))
  const weights = new Map<string, Float32Array>()
  const biases = new Map<string, Float32Array>()
  for (const [id, s] of Object.entries(TOY_SITES)) {
    if (s.tiedTo === undefined) weights.set(id, normal(s.rows * s.columns, 1 / Math.sqrt(s.columns)))
    if (s.kind !== 'embedding' && id !== 'unembed' && id !== 'gate') biases.set(id, normal(s.rows, 0.1))
  }
  const gains = new Map<string, Float32Array>()
  for (const norm of ['norm1', 'norm2']) gains.set(norm, normal(D, 0.2, 1).map((g, i) => (i % 7 === 3 ? g * 8 : g)))
  if (centred) gains.set('norm2.bias', normal(D, 0.1))
  return { weights, biases, gains, inserts: new Map(), centred }
}

export function copyState(s: ToyState): ToyState {
  const copy = (m: Map<string, Float32Array>): Map<string, Float32Array> => new Map([...m].map(([k, v]) => [k, v.slice()]))
  return { weights: copy(s.weights), biases: copy(s.biases), gains: copy(s.gains), inserts: new Map([...s.inserts].map(([k, v]) => [k, [...v]])), centred: s.centred }
}

/** What a run lets others see and change. */
export interface ToyHooks {
  /** Weight `[N, K]` that a site computes with. */
  weight(site: string): Float32Array
  /** Sees each activation and may replace it. */
  activation(name: string, value: ToyTensor): ToyTensor
  /** Sees a site's input, whole and as rows `[R, groups · K]`. */
  siteInput(site: string, input: ToyTensor, rows: ToyTensor): void
}

/** Runs the model. Sums are in float64, every tensor is float32. */
export function runToy(state: ToyState, ids: ArrayLike<number>, image: ToyTensor, hooks: ToyHooks): Map<string, ToyTensor> {
  const values = new Map<string, ToyTensor>()
  const put = (name: string, value: ToyTensor): void => void values.set(name, hooks.activation(name, value))
  put('image', image)
  const get = (name: string): ToyTensor => {
    const value = values.get(name)
    if (value === undefined) throw new Error(`toy model: ${name} is read before it is made`)
    return value
  }
  for (const node of TOY_NODES) {
    switch (node.op) {
      case 'embedding': {
        const w = hooks.weight(node.site)
        put(node.output, tensorOf([ids.length, D], (i) => w[ids[Math.floor(i / D)] * D + (i % D)]))
        break
      }
      case 'linear':
      case 'conv':
        put(node.output, matrixSite(state, node, get(node.input), hooks))
        break
      case 'rms-norm':
      case 'layer-norm':
        put(node.output, norm(get(node.input), node.op === 'layer-norm' && state.centred, state.gains.get(node.norm), state.gains.get(`${node.norm}.bias`)))
        break
      case 'relu':
        put(node.output, map(get(node.input), (x) => Math.max(x, 0)))
        break
      case 'pool': {
        const { shape, data } = get(node.input)
        const area = shape[2] * shape[3]
        put(node.output, tensorOf([shape[0], shape[1]], (i) => data.subarray(i * area, (i + 1) * area).reduce((a, b) => a + b, 0) / area))
        break
      }
      case 'add': {
        const other = get(node.other).data
        put(node.output, map(get(node.input), (x, i) => x + other[i]))
        break
      }
      case 'silu-mul': {
        const other = get(node.other).data
        put(node.output, map(get(node.input), (x, i) => (x / (1 + Math.exp(-x))) * other[i]))
        break
      }
    }
  }
  return values
}

function matrixSite(state: ToyState, node: { readonly op: 'linear' | 'conv'; readonly site: string; readonly input: string }, raw: ToyTensor, hooks: ToyHooks): ToyTensor {
  const site = TOY_SITES[node.site]
  const input = insert(raw, TOY_FOLDS.find((f) => f.sites.includes(node.site)), state)
  const rows = node.op === 'conv' ? unfold(input, site) : input
  hooks.siteInput(node.site, input, rows)
  const w = hooks.weight(node.site)
  const bias = state.biases.get(node.site)
  const width = site.groups * site.columns
  const product = tensorOf([rows.shape[0], site.rows], (i) => {
    const row = Math.floor(i / site.rows)
    const n = i % site.rows
    const from = row * width + Math.floor(n / (site.rows / site.groups)) * site.columns
    let sum = bias?.[n] ?? 0
    for (let k = 0; k < site.columns; k++) sum += rows.data[from + k] * w[n * site.columns + k]
    return sum
  })
  if (node.op === 'linear') return product
  const [batch, , height, wide] = input.shape
  const area = height * wide
  return tensorOf([batch, site.rows, height, wide], (i) => {
    const image = Math.floor(i / (site.rows * area))
    return product.data[(image * area + (i % area)) * site.rows + (Math.floor(i / area) % site.rows)]
  })
}

function insert(x: ToyTensor, fold: ToyFold | undefined, state: ToyState): ToyTensor {
  let out = x
  for (const op of (fold === undefined ? undefined : state.inserts.get(fold.tensor)) ?? []) {
    if (op.kind === 'scale') {
      const area = out.shape.slice(2).reduce((a, b) => a * b, 1)
      out = map(out, (v, i) => v / op.scales[Math.floor(i / area) % op.scales.length])
    } else {
      const data = out.data.slice()
      rotateRows(data, op.signs, op.order)
      out = { shape: out.shape, data }
    }
  }
  return out
}

/** 3 × 3 windows, padding 1, as rows `[B · H · W, C · 9]`. */
function unfold(x: ToyTensor, site: ToySite): ToyTensor {
  const [batch, channels, height, width] = x.shape
  const columns = channels * site.columnsPerChannel
  return tensorOf([batch * height * width, columns], (i) => {
    const row = Math.floor(i / columns)
    const c = Math.floor((i % columns) / 9)
    const offset = i % 9
    const y = (Math.floor(row / width) % height) + Math.floor(offset / 3) - 1
    const z = (row % width) + (offset % 3) - 1
    if (y < 0 || y >= height || z < 0 || z >= width) return 0
    return x.data[((Math.floor(row / (height * width)) * channels + c) * height + y) * width + z]
  })
}

function norm(x: ToyTensor, centred: boolean, gain: Float32Array | undefined, bias: Float32Array | undefined): ToyTensor {
  const out = new Float32Array(x.data.length)
  for (let from = 0; from < out.length; from += D) {
    let mean = 0
    if (centred) for (let i = 0; i < D; i++) mean += x.data[from + i] / D
    let square = 0
    for (let i = 0; i < D; i++) square += (x.data[from + i] - mean) ** 2 / D
    const scale = 1 / Math.sqrt(square + 1e-6)
    for (let i = 0; i < D; i++) out[from + i] = (x.data[from + i] - mean) * scale * (gain?.[i] ?? 1) + (bias?.[i] ?? 0)
  }
  return { shape: x.shape, data: out }
}

function tensorOf(shape: readonly number[], value: (index: number) => number): ToyTensor {
  return { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)) }
}

function map(x: ToyTensor, value: (v: number, index: number) => number): ToyTensor {
  return { shape: x.shape, data: x.data.map(value) }
}
