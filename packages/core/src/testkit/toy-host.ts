import type { ActivationParams, ActivationPoint, ApplyResult, Acceptance, Artifact, Batch, BatchSource, EmitOptions, FoldGroup, HostSupports, ModelHost, ObserveOptions, ResidualStream, Site, TensorRef, Transform } from '../contract/v2/host.js'
import type { DecisionSet, HostCapabilities } from '../contract/v2/capabilities.js'
import type { StatisticRequest, Statistics } from '../contract/v2/statistics.js'
import { LowbitError, throwIfAborted } from '../errors.js'
import { Sha256 } from '../digest/sha256.js'
import { AbstractHost, type WhichModel } from '../host/abstract-host.js'
import { StatisticAnswers } from '../host/answers.js'
import { checkTransform } from '../host/check-transform.js'
import { rotateRows } from '../linalg/hadamard.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { clamp, roundHalfEven } from '../reference/round.js'
import { codeRange, type Scheme } from '../scheme.js'
import { hasDType } from '../tensor.js'
import { VERSION } from '../version.js'
import { decodeToy, encodeToy } from './toy-artifact.js'
import type { ReopenedModel } from './artifacts.js'
import { copyState, runToy, TOY_FOLDS, TOY_OUTPUTS, TOY_SITES, TOY_STREAM, TOY_WIDTH, toyState, type ToyFold, type ToyHooks, type ToySite, type ToyState, type ToyTensor } from './toy-model.js'
import { ToyRecord, toyStatistic } from './toy-statistics.js'

export interface ToyHostOptions {
  /** Draws the parameters. Default 1. */
  readonly seed?: number
  /** The last norm. Default `layer-norm`; with `rms-norm` the residual stream can be turned. */
  readonly finalNorm?: 'layer-norm' | 'rms-norm'
  /** Overrules `accepts`, to try out what a pickier backend would say. */
  readonly accepts?: (site: string, scheme: Scheme, format: string) => Acceptance
}

/**
 * A whole model and its backend in plain TypeScript: an embedding, a grouped convolution, norms, a gated MLP, a tied weight.
 * Everything a {@link ModelHost} can do, computed slowly. For tests of algorithms and pipelines, and as an example to read.
 */
export function toyHost(options: ToyHostOptions = {}): ModelHost {
  return new ToyHost(options)
}

/** What an artifact of {@link toyHost} computes, read out of its bytes alone. */
export async function reopenToy(artifact: Artifact): Promise<ReopenedModel> {
  const { state, activations, floats } = decodeToy(artifact.bytes())
  const hooks: ToyHooks = {
    weight: (id) => state.weights.get(TOY_SITES[id].tiedTo ?? id) ?? new Float32Array(),
    activation: (name, value) => {
      const params = activations.get(name)
      return params === undefined ? value : fakeQuantized(value, params)
    },
    siteInput: () => {},
  }
  return {
    floatSites: Object.keys(TOY_SITES).filter((id) => floats.includes(TOY_SITES[id].tiedTo ?? id)),
    run: async (batch) => {
      const { ids, image } = checkIds(batch)
      return outputsOf(runToy(state, ids, image, hooks))
    },
    dispose: async () => {},
  }
}

const SUPPORTS: HostSupports = {
  formats: ['toy-json'],
  nativeStatistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples'],
  statistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples'],
  transforms: ['scale', 'rotate', 'clip'],
  siteKinds: ['linear', 'conv', 'embedding'],
  activations: true,
  capabilities: ['residual', 'fingerprint', 'outputsUnder'],
  tolerance: { relative: 1e-6, reason: 'the same loops over the same float32 values; only weights written back are rounded once more' },
}

/** Activations that static quantization may quantize, with the sites that read them. */
const POINTS: Readonly<Record<string, readonly string[]>> = { image: ['conv'], pooled: ['reduce'], n1: ['v', 'gate', 'up'], 'v.out': ['o'], m: ['down'], n2: ['head'], h2: ['unembed'] }

class ToyHost extends AbstractHost {
  readonly name = '@lowbit/core/toy-host'
  readonly version = VERSION
  readonly config: { readonly seed: number }
  readonly supports = SUPPORTS
  override readonly capabilities: HostCapabilities = {
    residual: { streams: async () => this.#streams(), rotate: async (stream, rotation) => this.#rotateStream(stream, rotation) },
    outputsUnder: {
      run: async (sets, batches, see) => {
        for (const [i, set] of sets.entries()) for (const [b, batch] of batches.entries()) if (!see(i, b, this.#outputs(batch, 'current', set))) break
      },
    },
    fingerprint: { sha256: async () => new Sha256().update(JSON.stringify(this.config)).hex() },
  }
  readonly #options: ToyHostOptions
  readonly #original: ToyState
  readonly #state: ToyState
  /** What assigned codes stand for. */
  readonly #values = new WeakMap<QTensor, Float32Array>()
  readonly #size: number

  constructor(options: ToyHostOptions) {
    super()
    this.#options = options
    this.config = { seed: options.seed ?? 1 }
    this.#original = toyState(this.config.seed, options.finalNorm !== 'rms-norm')
    this.#state = copyState(this.#original)
    this.#size = encodeToy(this.#original, new Map(), new Map(), undefined).length
  }

  inputs(): readonly TensorRef[] {
    return [{ name: 'ids', dtype: 'int32', shape: ['batch'] }, { name: 'image', dtype: 'float32', shape: ['batch', 4, 'height', 'width'] }]
  }

  outputs(): readonly TensorRef[] {
    return TOY_OUTPUTS.map((name) => ({ name, dtype: 'float32', shape: ['batch', name === 'scores' ? TOY_SITES['head'].rows : TOY_SITES['unembed'].rows] }))
  }

  sites(): readonly Site[] {
    return Object.entries(TOY_SITES).map(([id, s]) => ({
      id,
      kind: s.kind,
      op: s.kind === 'conv' ? 'conv3x3' : s.kind,
      weight: {
        name: `${s.tiedTo ?? id}.weight`,
        dtype: 'float32',
        rows: s.rows,
        columns: s.columns,
        shape: s.kind === 'conv' ? [s.rows, s.columns / 9, 3, 3] : [s.rows, s.columns],
        groups: s.groups,
        columnsPerChannel: s.columnsPerChannel,
      },
      input: { name: Object.keys(POINTS).find((p) => POINTS[p].includes(id)) ?? 'ids' },
      output: { name: `${id}.out` },
      ...(s.tiedTo === undefined ? {} : { tiedTo: s.tiedTo }),
      block: s.block,
    }))
  }

  foldGroups(): readonly FoldGroup[] {
    return TOY_FOLDS.map(({ tensor: name, sites, channels, norm, linear, reason }) => ({
      id: name,
      sites,
      input: { name },
      producer: norm !== undefined ? 'norm' : linear !== undefined ? 'linear' : 'none',
      channels,
      ...(reason === undefined ? {} : { reason }),
    }))
  }

  override activations(): readonly ActivationPoint[] {
    return Object.entries(POINTS).map(([id, sites]) => ({ id, group: id, sites, ops: ['linear'] }))
  }

  size(): number {
    return this.#size
  }

  protected acceptsScheme(site: Site, scheme: Scheme, format: string): Acceptance {
    if (this.#options.accepts !== undefined) return this.#options.accepts(site.id, scheme, format)
    if (scheme.granularity.kind === 'token') return { ok: false, reason: 'weights have no scale a token' }
    return { ok: true }
  }

  protected weightOf(site: Site): Float32Array<ArrayBuffer> {
    return Float32Array.from(this.#weight(site.id).weight)
  }

  protected setWeight(site: Site, weight: Float32Array): void {
    this.#weight(site.id).weight.set(weight)
  }

  protected shiftOutput({ id, weight }: Site, delta: Float32Array): void {
    const before = this.#state.biases.get(id) ?? new Float32Array(weight.rows)
    this.#state.biases.set(id, before.map((b, i) => b + delta[i]))
  }

  protected transform({ id }: FoldGroup, transform: Exclude<Transform, { readonly kind: 'clip' }>): ApplyResult {
    const fold = TOY_FOLDS.find((f) => f.tensor === id)
    if (fold === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `fold group ${id}`, found: 'no fold' })
    return transform.kind === 'scale' ? this.#scale(fold, transform.scales) : this.#rotate(fold, transform.signs, transform.order)
  }

  #streams(): readonly ResidualStream[] {
    this.checkOpen()
    const reason = this.#streamReason()
    return [
      {
        id: TOY_STREAM.id,
        channels: TOY_WIDTH,
        readers: TOY_STREAM.readers.map(({ site, norm }) => ({ site, ...(norm === undefined ? {} : { gain: this.#gain(norm).slice() }) })),
        writers: TOY_STREAM.writers,
        ...(reason === undefined ? {} : { reason }),
      },
    ]
  }

  protected async collect(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions): Promise<Statistics> {
    const records = { current: new Map<string, ToyRecord>(), original: new Map<string, ToyRecord>() }
    const target = (r: StatisticRequest): string => ('site' in r.target ? `site ${r.target.site}` : `tensor ${r.target.tensor}`)
    for (const r of requests) {
      records.current.set(target(r), new ToyRecord())
      records.original.set(target(r), new ToyRecord())
    }
    const model = options.model ?? 'current'
    let done = 0
    for await (const batch of data) {
      throwIfAborted(options.signal, 'calibration')
      this.#compute(batch, model, records[model], done)
      if (model === 'current' && requests.some((r) => r.statistic === 'cross-gram')) this.#compute(batch, 'undecided', records.original, done)
      done++
      options.onProgress?.({ phase: 'calibrate', done, total: done })
    }
    throwIfAborted(options.signal, 'calibration')
    const answers = new StatisticAnswers()
    for (const r of requests) {
      const record = records[model].get(target(r))
      if (record === undefined || record.whole.length === 0) continue
      const site = 'site' in r.target ? this.#site(r.target.site) : undefined
      const value = toyStatistic(r.statistic, record, records.original.get(target(r)), site, r.options ?? {})
      answers.set(r, value)
    }
    return answers
  }

  protected compute(batch: Batch, model: WhichModel): Batch {
    return this.#outputs(batch, model)
  }

  #outputs(batch: Batch, model: WhichModel, under: DecisionSet = {}): Batch {
    return outputsOf(this.#compute(batch, model, new Map(), 0, under))
  }

  protected write(format: string, options: EmitOptions): Artifact {
    const bytes = encodeToy(this.#state, this.assigned, this.assignedActivations, options.provenance)
    return {
      format,
      size: bytes.length,
      notes: [],
      bytes: () => bytes.slice(),
      save: async (path) => {
        throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: path, found: 'the toy host touches no files', fix: 'write artifact.bytes()' })
      },
    }
  }

  #site(id: string): ToySite {
    return TOY_SITES[id]
  }

  #weight(id: string): { readonly site: ToySite; readonly owner: string; readonly weight: Float32Array } {
    const site = this.#site(id)
    const owner = site.tiedTo ?? id
    const weight = this.#state.weights.get(owner)
    if (weight === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `site ${id}`, found: 'no weight' })
    return { site, owner, weight }
  }

  #scale(fold: ToyFold, scales: Float32Array): ApplyResult {
    for (const id of fold.sites) {
      const { site, weight } = this.#weight(id)
      const perGroup = site.columns / site.columnsPerChannel
      for (let i = 0; i < weight.length; i++) {
        const group = Math.floor(Math.floor(i / site.columns) / (site.rows / site.groups))
        weight[i] *= scales[group * perGroup + Math.floor((i % site.columns) / site.columnsPerChannel)]
      }
    }
    const divide = (values: Float32Array | undefined, per: number): void => values?.forEach((v, i) => (values[i] = v / scales[Math.floor(i / per)]))
    if (fold.norm !== undefined) {
      divide(this.#state.gains.get(fold.norm), 1)
      divide(this.#state.gains.get(`${fold.norm}.bias`), 1)
      return { how: 'folded' }
    }
    if (fold.linear !== undefined) {
      const { site, weight } = this.#weight(fold.linear)
      divide(weight, site.columns)
      divide(this.#state.biases.get(fold.linear), 1)
      return { how: 'folded' }
    }
    this.#insert(fold, { kind: 'scale', scales: scales.slice() })
    return { how: 'inserted', ...(fold.reason === undefined ? {} : { reason: fold.reason }) }
  }

  #rotate(fold: ToyFold, signs: Int8Array, order: number): ApplyResult {
    if (fold.sites.some((id) => TOY_SITES[id].kind === 'conv')) return { how: 'refused', reason: 'a rotation would mix the groups of the convolution' }
    for (const id of fold.sites) rotateRows(this.#weight(id).weight, signs, order)
    if (fold.rotates && fold.linear !== undefined) {
      const { site, weight } = this.#weight(fold.linear)
      const columns = transposed(weight, site.rows, site.columns)
      rotateRows(columns, signs, order)
      weight.set(transposed(columns, site.columns, site.rows))
      const bias = this.#state.biases.get(fold.linear)
      if (bias !== undefined) rotateRows(bias, signs, order)
      return { how: 'folded' }
    }
    this.#insert(fold, { kind: 'rotate', signs: signs.slice(), order })
    return { how: 'inserted', reason: fold.reason ?? 'its producer cannot be turned' }
  }

  #streamReason(): string | undefined {
    if (this.#state.centred) return 'norm2 is a layer norm: it subtracts the mean, which no rotation commutes with'
    const inserted = TOY_STREAM.tensors.find((t) => this.#state.inserts.has(t))
    return inserted === undefined ? undefined : `something stands between ${inserted} and its sites`
  }

  #gain(norm: string): Float32Array {
    const gain = this.#state.gains.get(norm)
    if (gain === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `norm ${norm}`, found: 'no gain' })
    return gain
  }

  #rotateStream(stream: string, rotation: Extract<Transform, { readonly kind: 'rotate' }>): ApplyResult {
    this.checkOpen()
    if (stream !== TOY_STREAM.id) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `residual stream '${stream}'`, found: 'the model has none of this name', expected: TOY_STREAM.id })
    checkTransform(rotation, TOY_WIDTH, stream)
    const reason = this.#streamReason()
    if (reason !== undefined) return { how: 'refused', reason }
    const { signs, order } = rotation
    for (const { site: id, norm } of TOY_STREAM.readers) {
      const { weight } = this.#weight(id)
      const gain = norm === undefined ? undefined : this.#gain(norm)
      if (gain !== undefined) for (let i = 0; i < weight.length; i++) weight[i] *= gain[i % gain.length]
      rotateRows(weight, signs, order)
    }
    for (const id of TOY_STREAM.writers) {
      const { site, weight } = this.#weight(id)
      // The embedding is tied to a reader and has turned with it.
      if (site.kind === 'embedding') continue
      const columns = transposed(weight, site.rows, site.columns)
      rotateRows(columns, signs, order)
      weight.set(transposed(columns, site.columns, site.rows))
      const bias = this.#state.biases.get(id)
      if (bias !== undefined) rotateRows(bias, signs, order)
    }
    for (const norm of ['norm1', 'norm2']) this.#gain(norm).fill(1)
    return { how: 'folded' }
  }

  #insert(fold: ToyFold, op: { readonly kind: 'scale'; readonly scales: Float32Array } | { readonly kind: 'rotate'; readonly signs: Int8Array; readonly order: number }): void {
    this.#state.inserts.set(fold.tensor, [...(this.#state.inserts.get(fold.tensor) ?? []), op])
  }

  #valuesOf(q: QTensor | null | undefined): Float32Array | undefined {
    if (q === undefined || q === null) return undefined
    const known = this.#values.get(q) ?? dequantize(q).data
    this.#values.set(q, known)
    return known
  }

  #compute(batch: Batch, model: 'current' | 'undecided' | 'original', records: ReadonlyMap<string, ToyRecord>, index: number, under: DecisionSet = {}): Map<string, ToyTensor> {
    const { ids, image } = checkIds(batch)
    const state = model === 'original' ? this.#original : this.#state
    const hooks: ToyHooks = {
      weight: (id) => {
        const owner = TOY_SITES[id].tiedTo ?? id
        return (model === 'current' ? this.#valuesOf(under.weights?.get(owner) === undefined ? this.assigned.get(owner) : under.weights.get(owner)) : undefined) ?? state.weights.get(owner) ?? new Float32Array()
      },
      activation: (name, value) => {
        const record = records.get(`tensor ${name}`)
        if (record !== undefined) {
          requireFinite(value, `activation '${name}'`, index)
          record.whole.push(value)
        }
        const params = model === 'current' ? (under.activations?.get(name) === undefined ? this.assignedActivations.get(name) : under.activations.get(name)) : undefined
        return params === undefined || params === null ? value : fakeQuantized(value, params)
      },
      siteInput: (id, whole, rows) => {
        const record = records.get(`site ${id}`)
        if (record === undefined) return
        requireFinite(whole, `input of site ${id}`, index)
        record.whole.push(whole)
        record.rows.push(rows)
      },
    }
    return runToy(state, ids, image, hooks)
  }
}

function requireFinite({ data }: ToyTensor, thing: string, batch: number): void {
  const at = data.findIndex((v) => !Number.isFinite(v))
  if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `${data[at]} in batch ${batch}`, expected: 'finite activations', fix: 'look at that batch' })
}

function outputsOf(values: ReadonlyMap<string, ToyTensor>): Batch {
  return Object.fromEntries(TOY_OUTPUTS.map((name) => [name, { dtype: 'float32', ...(values.get(name) ?? { shape: [0], data: new Float32Array() }) }]))
}

function checkIds(batch: Batch): { readonly ids: Int32Array; readonly image: ToyTensor } {
  const { ids, image } = batch
  if (ids === undefined || image === undefined || !hasDType(ids, 'int32') || !hasDType(image, 'float32')) {
    throw new LowbitError('LOWBIT_DATA', { thing: 'batch of the toy model', found: Object.entries(batch).map(([k, t]) => `${k} ${t.dtype}`).join(', ') || 'nothing', expected: 'ids int32 [batch], image float32 [batch, 4, height, width]' })
  }
  const rows = TOY_SITES['embed'].rows
  if (ids.shape.length !== 1 || image.shape.length !== 4 || image.shape[0] !== ids.shape[0] || image.shape[1] !== 4 || ids.data.some((i) => i < 0 || i >= rows)) {
    throw new LowbitError('LOWBIT_DATA', { thing: 'batch of the toy model', found: `ids [${ids.shape.join(', ')}], image [${image.shape.join(', ')}]`, expected: `one image [4, height, width] an id, ids below ${rows}, ${TOY_WIDTH} wide` })
  }
  return { ids: ids.data, image }
}

function fakeQuantized(value: ToyTensor, { dtype, scale, zeroPoint }: ActivationParams): ToyTensor {
  const { min, max } = codeRange(dtype)
  return { shape: value.shape, data: value.data.map((v) => (clamp(roundHalfEven(v / scale) + zeroPoint, min, max) - zeroPoint) * scale) }
}

function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  return data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)])
}
