import type { ActivationParams, ActivationPoint, ApplyResult, Acceptance, Artifact, Batch, BatchSource, EmitOptions, FoldGroup, HostSupports, ModelHost, ObserveOptions, ResidualStream, Site, TensorRef, Transform } from '../contract/v2/host.js'
import type { StatisticRequest, Statistics } from '../contract/v2/statistics.js'
import { LowbitError, throwIfAborted } from '../errors.js'
import { rotateRows } from '../linalg/hadamard.js'
import { checkQTensor, type QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { clamp, roundHalfEven } from '../reference/round.js'
import { codeRange, describeScheme, type Scheme } from '../scheme.js'
import { hasDType, tensor, type HostTensor } from '../tensor.js'
import { VERSION } from '../version.js'
import { encodeToy } from './toy-artifact.js'
import { copyState, runToy, TOY_FOLDS, TOY_OUTPUTS, TOY_SITES, TOY_STREAM, TOY_WIDTH, toyState, type ToyFold, type ToyHooks, type ToySite, type ToyState, type ToyTensor } from './toy-model.js'
import { ToyAnswers, ToyRecord, toyStatistic } from './toy-statistics.js'

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

const SUPPORTS: HostSupports = {
  formats: ['toy-json'],
  nativeStatistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples'],
  statistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples'],
  transforms: ['scale', 'rotate', 'clip'],
  siteKinds: ['linear', 'conv', 'embedding'],
  activations: true,
  tolerance: { relative: 1e-6, reason: 'the same loops over the same float32 values; only weights written back are rounded once more' },
}

/** Activations that static quantization may quantize, with the sites that read them. */
const POINTS: Readonly<Record<string, readonly string[]>> = { image: ['conv'], pooled: ['reduce'], n1: ['v', 'gate', 'up'], 'v.out': ['o'], m: ['down'], n2: ['head'], h2: ['unembed'] }

class ToyHost implements ModelHost {
  readonly kind = 'host'
  readonly name = '@lowbit/core/toy-host'
  readonly version = VERSION
  readonly apiVersion = 2
  readonly config: { readonly seed: number }
  readonly supports = SUPPORTS
  readonly #options: ToyHostOptions
  readonly #original: ToyState
  readonly #state: ToyState
  readonly #codes = new Map<string, { readonly q: QTensor; readonly values: Float32Array }>()
  readonly #activations = new Map<string, ActivationParams>()
  readonly #size: number
  #disposed = false

  constructor(options: ToyHostOptions) {
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

  skipped(): readonly { readonly id: string; readonly reason: string }[] {
    return []
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

  activations(): readonly ActivationPoint[] {
    return Object.entries(POINTS).map(([id, sites]) => ({ id, group: id, sites, ops: ['linear'] }))
  }

  size(): number {
    return this.#size
  }

  accepts(site: string, scheme: Scheme, format: string): Acceptance {
    this.#site(site)
    if (this.#options.accepts !== undefined) return this.#options.accepts(site, scheme, format)
    if (scheme.granularity.kind === 'token') return { ok: false, reason: 'weights have no scale a token' }
    return { ok: true }
  }

  async readWeight(id: string): Promise<HostTensor<'float32'>> {
    const { site, weight } = this.#weight(id)
    return tensor('float32', [site.rows, site.columns], weight.slice())
  }

  async writeWeight(id: string, w: HostTensor<'float32'>): Promise<void> {
    const { site, weight } = this.#weight(id)
    if (w.data.length !== weight.length) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `weight of ${id}`, found: `[${w.shape.join(', ')}]`, expected: `[${site.rows}, ${site.columns}]` })
    }
    weight.set(w.data)
  }

  async addBias(id: string, delta: Float32Array): Promise<void> {
    const site = this.#site(id)
    if (site.kind === 'embedding' || delta.length !== site.rows) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `bias of ${id}`, found: `${delta.length} values`, expected: site.kind === 'embedding' ? 'none: an embedding has no bias' : `${site.rows}` })
    }
    const before = this.#state.biases.get(id) ?? new Float32Array(site.rows)
    this.#state.biases.set(id, before.map((b, i) => b + delta[i]))
  }

  async apply(group: string, transform: Transform): Promise<ApplyResult> {
    this.#alive()
    if (group === TOY_STREAM.id) return this.#rotateStream(transform)
    const fold = TOY_FOLDS.find((f) => f.tensor === group)
    if (fold === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'fold group', found: group, expected: TOY_FOLDS.map((f) => f.tensor).join(', ') })
    if (transform.kind === 'clip') {
      await this.writeWeight(transform.site, transform.weight)
      return { how: 'folded' }
    }
    const channels = transform.kind === 'scale' ? transform.scales.length : transform.signs.length
    if (channels !== fold.channels) throw new LowbitError('LOWBIT_SHAPE', { thing: `${transform.kind} of ${group}`, found: `${channels} channels`, expected: `${fold.channels}` })
    return transform.kind === 'scale' ? this.#scale(fold, transform.scales) : this.#rotate(fold, transform.signs, transform.order)
  }

  async residualStreams(): Promise<readonly ResidualStream[]> {
    this.#alive()
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

  async observe(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions = {}): Promise<Statistics> {
    this.#alive()
    const records = { current: new Map<string, ToyRecord>(), original: new Map<string, ToyRecord>() }
    const target = (r: StatisticRequest): string => ('site' in r.target ? `site ${r.target.site}` : `tensor ${r.target.tensor}`)
    for (const r of requests) {
      if ('site' in r.target) this.#site(r.target.site)
      records.current.set(target(r), new ToyRecord())
      records.original.set(target(r), new ToyRecord())
    }
    const model = options.model ?? 'current'
    let done = 0
    for await (const batch of data) {
      throwIfAborted(options.signal, 'calibration')
      this.#compute(batch, model, records[model], done)
      if (model === 'current' && requests.some((r) => r.statistic === 'cross-gram')) this.#compute(batch, 'original', records.original, done)
      done++
      options.onProgress?.({ phase: 'calibrate', done, total: done })
    }
    throwIfAborted(options.signal, 'calibration')
    const answers = new ToyAnswers()
    for (const r of requests) {
      const record = records[model].get(target(r))
      if (record === undefined || record.whole.length === 0) continue
      const site = 'site' in r.target ? this.#site(r.target.site) : undefined
      const value = toyStatistic(r.statistic, record, records.original.get(target(r)), site, r.options ?? {})
      if (value !== undefined) answers.set(r, value)
    }
    return answers
  }

  assign(id: string, q: QTensor | null): void {
    const { site, owner } = this.#weight(id)
    if (q === null) {
      this.#codes.delete(owner)
      return
    }
    checkQTensor(q, id)
    if (q.codes.length !== site.rows * site.columns) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `codes of ${id}`, found: `[${q.shape.join(', ')}], ${describeScheme(q.scheme)}`, expected: `[${site.rows}, ${site.columns}]` })
    }
    this.#codes.set(owner, { q, values: dequantize(q).data })
  }

  assignActivation(point: string, params: ActivationParams | null): void {
    this.#alive()
    if (POINTS[point] === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'activation', found: point, expected: Object.keys(POINTS).join(', ') })
    if (params === null) this.#activations.delete(point)
    else this.#activations.set(point, params)
  }

  async run(batch: Batch, options: { readonly model?: 'current' | 'original' } = {}): Promise<Batch> {
    const values = this.#compute(batch, options.model ?? 'current', new Map(), 0)
    return Object.fromEntries(TOY_OUTPUTS.map((name) => [name, { dtype: 'float32', ...(values.get(name) ?? { shape: [0], data: new Float32Array() }) }]))
  }

  async emit(format: string, options: EmitOptions = {}): Promise<Artifact> {
    this.#alive()
    if (!SUPPORTS.formats.includes(format)) throw new LowbitError('LOWBIT_FORMAT', { thing: 'toy host', found: `format ${format}`, expected: SUPPORTS.formats.join(', ') })
    throwIfAborted(options.signal, 'emit')
    const bytes = encodeToy(this.#state, new Map([...this.#codes].map(([id, { q }]) => [id, q])), this.#activations, options.provenance)
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

  async dispose(): Promise<void> {
    this.#disposed = true
  }

  #alive(): void {
    if (this.#disposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: 'toy host', found: 'a call after dispose()', fix: 'open the model again' })
  }

  #site(id: string): ToySite {
    this.#alive()
    if (!Object.hasOwn(TOY_SITES, id)) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'site', found: id, expected: Object.keys(TOY_SITES).join(', ') })
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
    const bad = scales.find((s) => !(s > 0 && Number.isFinite(s)))
    if (bad !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `scale of ${fold.tensor}`, found: String(bad), expected: 'positive, finite numbers' })
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

  #rotateStream(transform: Transform): ApplyResult {
    if (transform.kind !== 'rotate') return { how: 'refused', reason: `a residual stream takes rotations, not ${transform.kind}` }
    const reason = this.#streamReason()
    if (reason !== undefined) return { how: 'refused', reason }
    const { signs, order } = transform
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

  #compute(batch: Batch, model: 'current' | 'original', records: ReadonlyMap<string, ToyRecord>, index: number): Map<string, ToyTensor> {
    this.#alive()
    const { ids, image } = checkBatch(batch)
    const state = model === 'original' ? this.#original : this.#state
    const hooks: ToyHooks = {
      weight: (id) => {
        const owner = TOY_SITES[id].tiedTo ?? id
        return (model === 'current' ? this.#codes.get(owner)?.values : undefined) ?? state.weights.get(owner) ?? new Float32Array()
      },
      activation: (name, value) => {
        records.get(`tensor ${name}`)?.whole.push(value)
        const params = model === 'current' ? this.#activations.get(name) : undefined
        return params === undefined ? value : fakeQuantized(value, params)
      },
      siteInput: (id, whole, rows) => {
        const record = records.get(`site ${id}`)
        if (record === undefined) return
        const at = whole.data.findIndex((v) => !Number.isFinite(v))
        if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing: `input of site ${id}`, found: `${whole.data[at]} in batch ${index}`, expected: 'finite activations', fix: 'look at that batch' })
        record.whole.push(whole)
        record.rows.push(rows)
      },
    }
    return runToy(state, ids, image, hooks)
  }
}

function checkBatch(batch: Batch): { readonly ids: Int32Array; readonly image: ToyTensor } {
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
