import {
  AbstractHost,
  dequantize,
  fastLinAlg,
  LowbitError,
  ownerOf,
  partsValue,
  PLAN_VERSION,
  rotateRows,
  StatisticAnswers,
  statisticObserver,
  type Acceptance,
  type ApplyResult,
  type Artifact,
  type Batch,
  type BatchSource,
  type EmitOptions,
  type FoldGroup,
  type HostCapabilities,
  type HostSupports,
  type Json,
  type LinAlg,
  type ObserveOptions,
  type Plan,
  type PlannedWeight,
  type Program,
  type QTensor,
  type ResidualStream,
  type Scheme,
  type Site,
  type StatisticName,
  type StatisticObserver,
  type StatisticRequest,
  type Statistics,
  type TensorRef,
  type Transform,
  type WhichModel,
} from '@lowbit/core'
import type { FileSet, GgufMetadata } from '@lowbit/formats/gguf'
import { LM_FORMATS } from '../export/lm-formats.js'
import type { LmFormat, LmSnapshot, StoredWeight } from '../export/lm-format.js'
import { decoderProgram } from '../forward/decoder-program.js'
import { headName, type Part } from '../forward/parts.js'
import type { ModelMatrix } from '../weights/matrix.js'
import { VERSION } from '../version.js'
import { fingerprintOf } from './fingerprint.js'
import { foldRecords, modelSites, residualStream, streamGains, type FoldRecord } from './model-sites.js'
import type { ModelState } from './model-state.js'
import { prepareWith, type SegmentEngine } from './segment-engine.js'
import { Walk } from './walk.js'

/** The model as it now stands, as opened, or with its transforms and nothing decided. */
type WalkedModel = WhichModel | 'undecided'

const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples']

/** What a host of a language model is made of. */
export interface CausalLmHostParts {
  readonly name: string
  readonly state: ModelState
  readonly engine: SegmentEngine
  /** For Gram matrices. */
  readonly linalg?: LinAlg
  readonly tokenizer: () => GgufMetadata | undefined
  readonly files?: FileSet
}

/**
 * A decoder language model as the pipeline sees it: products and embedding as sites, norms and products before them as fold groups,
 * the residual stream, statistics from texts that walk through the model product by product.
 *
 * Activations are of one place in the model at a time, weights are read when their turn comes. In sequential mode every product
 * sees what those before it became, in one pass over the data.
 */
export class CausalLmHost extends AbstractHost {
  readonly name = '@lowbit/causal-lm'
  readonly version = VERSION
  readonly config: Json
  readonly supports: HostSupports
  override readonly capabilities: HostCapabilities = {
    residual: { streams: async () => this.#streams(), rotate: async (stream, rotation) => this.#rotateStream(stream, rotation) },
    fingerprint: { sha256: () => this.#sha256() },
    plans: { target: (format, settings) => this.#aimAt(format, settings), plan: () => this.plan() },
  }
  readonly #parts: CausalLmHostParts
  readonly #sites: readonly Site[]
  readonly #folds: readonly FoldRecord[]
  readonly #stored = new WeakMap<QTensor, StoredWeight>()
  /** Index of the cut before the product that a matrix takes part in. */
  readonly #cutOf: ReadonlyMap<string, number>
  #walk: { readonly walk: Walk; readonly data: BatchSource; readonly model: WhichModel } | undefined
  #target: { readonly format: LmFormat; readonly settings: Readonly<Record<string, Json>> } | undefined
  #fingerprint: Promise<string> | undefined
  /** Sites whose output was to be moved, in a format that has no bias for them. */
  readonly #lost = new Set<string>()

  /** Use {@link openCausalLmHost}. */
  constructor(parts: CausalLmHostParts) {
    super()
    this.#parts = parts
    const { state } = parts
    this.config = { architecture: state.config.architecture }
    this.#sites = modelSites(state.source)
    this.#folds = foldRecords(state.config)
    const { cuts } = new Walk({ config: state.config, program: this.#program('original'), prepare: () => Promise.reject(new TypeError()), windows: [] })
    this.#cutOf = new Map(cuts.flatMap(({ matrices }, index) => matrices.map((name) => [name, index])))
    this.supports = {
      formats: LM_FORMATS.map(({ name }) => name),
      nativeStatistics: STATISTICS,
      statistics: STATISTICS,
      transforms: ['scale', 'rotate', 'clip'],
      siteKinds: ['linear', 'embedding'],
      activations: false,
      capabilities: ['residual', 'fingerprint', 'plans'],
      settings: Object.assign({}, ...LM_FORMATS.map(({ settings }) => settings)),
      tolerance: { relative: 1e-5, reason: 'sums of float32 in the order of the kernels' },
    }
  }

  inputs(): readonly TensorRef[] {
    return [{ name: 'tokens', dtype: 'int32', shape: ['batch', 'length'] }]
  }

  outputs(): readonly TensorRef[] {
    return [{ name: 'logits', dtype: 'float32', shape: ['batch', 'length', this.#parts.state.config.vocabulary] }]
  }

  sites(): readonly Site[] {
    return this.#sites
  }

  foldGroups(): readonly FoldGroup[] {
    return this.#folds.map((fold) => fold.group)
  }

  size(): number {
    return this.#parts.state.source.bytes
  }

  override assign(site: string, q: QTensor | null): void {
    const found = this.site(site)
    if (q === null && !this.assigned.has(ownerOf(found))) return
    super.assign(site, q)
    this.#touched(this.#partOf(found).name)
  }

  protected acceptsScheme(site: Site, scheme: Scheme, format: string): Acceptance {
    if (scheme.granularity.kind === 'token') return { ok: false, reason: 'weights have no scale a token' }
    return formatOf(format).accepts(site, scheme)
  }

  protected weightOf(site: Site): Promise<Float32Array<ArrayBuffer>> {
    return this.#parts.state.floats(this.#partOf(site))
  }

  protected setWeight(site: Site, weight: Float32Array<ArrayBuffer>): void {
    const part = this.#partOf(site)
    this.#parts.state.edit(part.name, { kind: 'replace', weight })
    this.#touched(part.name)
  }

  protected shiftOutput(site: Site, delta: Float32Array): void {
    const { state } = this.#parts
    const name = `${site.id}.bias`
    const before = state.vectors.get(name)
    const target = this.#target?.format
    if (before === undefined && target !== undefined && !target.takesBias(state.config, this.#partOf(site).role)) {
      this.#lost.add(site.id)
      return
    }
    state.setVector(name, delta.map((d, i) => d + (before?.[i] ?? 0)))
    this.#touched(this.#matrixOf(site))
  }

  protected transform(group: FoldGroup, transform: Exclude<Transform, { readonly kind: 'clip' }>): ApplyResult {
    const fold = this.#folds.find((f) => f.group.id === group.id)
    if (fold === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `fold group ${group.id}`, found: 'no fold' })
    const reason = fold.group.refused?.[transform.kind] ?? (transform.kind === 'rotate' ? this.#wrongOrder(transform.order) : undefined)
    if (reason !== undefined) return { how: 'refused', reason }
    const { state } = this.#parts
    for (const id of fold.group.sites) state.edit(id, transform.kind === 'scale' ? { kind: 'scale-columns', factors: transform.scales.slice() } : { kind: 'rotate-columns', signs: transform.signs.slice(), order: transform.order })
    if (transform.kind === 'scale') {
      const inverse = transform.scales.map((s) => 1 / s)
      const times = (name: string): void => {
        const values = state.vectors.get(name)
        if (values !== undefined) state.setVector(name, values.map((v, i) => v * inverse[i]))
      }
      if (fold.gain !== undefined) times(fold.gain)
      if (fold.linear !== undefined) {
        state.edit(fold.linear, { kind: 'scale-rows', factors: inverse })
        times(`${fold.linear}.bias`)
      }
    } else if (fold.linear !== undefined) {
      state.edit(fold.linear, { kind: 'rotate-rows', signs: transform.signs.slice(), order: transform.order })
      this.#turnVector(`${fold.linear}.bias`, transform)
    }
    // A gain stands before the product whose input it makes, a producer's rows before that.
    this.#walk = undefined
    return { how: 'folded' }
  }

  #wrongOrder(order: number): string | undefined {
    const { headSize } = this.#parts.state.config
    return headSize % order === 0 ? undefined : `only blocks that lie within a head of ${headSize} can be turned, not ${order} channels together`
  }

  #turnVector(name: string, { signs, order }: Extract<Transform, { readonly kind: 'rotate' }>): void {
    const values = this.#parts.state.vectors.get(name)
    if (values === undefined) return
    const turned = values.slice()
    rotateRows(turned, signs, order)
    this.#parts.state.setVector(name, turned)
  }

  #streams(): readonly ResidualStream[] {
    this.checkOpen()
    const { state } = this.#parts
    return [residualStream(state.config, (name) => state.vectors.get(name) ?? new Float32Array())]
  }

  #rotateStream(id: string, rotation: Extract<Transform, { readonly kind: 'rotate' }>): ApplyResult {
    const stream = this.#streams().find((s) => s.id === id)
    if (stream === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `residual stream '${id}'`, found: 'the model has none of this name', expected: 'residual' })
    if (stream.reason !== undefined) return { how: 'refused', reason: stream.reason }
    const { state } = this.#parts
    const { signs, order } = rotation
    for (const { site, gain } of stream.readers) {
      if (gain !== undefined) state.edit(site, { kind: 'scale-columns', factors: gain })
      state.edit(site, { kind: 'rotate-columns', signs: signs.slice(), order })
    }
    for (const site of stream.writers) {
      // Rows of the embedding are what is written.
      state.edit(site, { kind: site === 'embed' ? 'rotate-columns' : 'rotate-rows', signs: signs.slice(), order })
      this.#turnVector(`${site}.bias`, rotation)
    }
    for (const name of streamGains(state.config)) state.setVector(name, new Float32Array(stream.channels).fill(1))
    this.#walk = undefined
    return { how: 'folded' }
  }

  protected async collect(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions): Promise<Statistics> {
    const answers = new StatisticAnswers()
    const byCut = this.#requestsByCut(requests)
    const model = options.model ?? 'current'
    const crosses = model === 'current' && requests.some((r) => r.statistic === 'cross-gram')
    const cuts = [...byCut.keys()].sort((a, b) => a - b)
    const [first] = cuts
    if (first === undefined) return answers
    const walk = await this.#walkAt(data, model, first)
    const other = crosses ? await this.#newWalk(data, 'undecided') : undefined
    for (const cut of cuts) {
      await walk.goTo(cut, options)
      await other?.goTo(cut, { signal: options.signal })
      this.#answer(byCut.get(cut) ?? [], walk, other, answers)
    }
    return answers
  }

  #requestsByCut(requests: readonly StatisticRequest[]): ReadonlyMap<number, readonly StatisticRequest[]> {
    const byCut = new Map<number, StatisticRequest[]>()
    for (const request of requests) {
      const { target } = request
      const site = 'site' in target ? this.site(target.site) : this.#sites.find((s) => s.input.name === target.tensor && s.kind === 'linear')
      if (site === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `tensor '${'tensor' in target ? target.tensor : ''}'`, found: 'the model has none of this name', expected: this.#folds.slice(0, 8).map((f) => f.group.id).join(', ') })
      // What looks up tokens has no inputs that statistics are taken of.
      const cut = site.kind === 'embedding' ? undefined : this.#cutOf.get(this.#matrixOf(site))
      if (cut === undefined) continue
      byCut.set(cut, [...(byCut.get(cut) ?? []), request])
    }
    return byCut
  }

  /** Requests for the inputs of one product, each distinct one computed once. */
  #answer(requests: readonly StatisticRequest[], walk: Walk, original: Walk | undefined, answers: StatisticAnswers): void {
    const observers = new Map<string, { readonly observer: StatisticObserver<StatisticName>; readonly requests: StatisticRequest[] }>()
    for (const request of requests) {
      const { statistic, options = {} } = request
      const key = JSON.stringify([statistic, options.axis, options.bins, options.sample, options.rows])
      const known = observers.get(key)
      if (known !== undefined) known.requests.push(request)
      else observers.set(key, { observer: statisticObserver(statistic, { kind: 'linear' }, { ...options, linalg: this.#parts.linalg ?? fastLinAlg, thing: `${statistic} of ${describeTarget(request)}` }), requests: [request] })
    }
    const { input } = walk.cuts[walk.at]
    const others = original?.values(input)
    for (const rows of walk.values(input)) {
      const beside = others?.next()
      const pair = beside?.done === false ? beside.value : rows
      for (const { observer } of observers.values()) observer.observe(rows, pair)
    }
    for (const { observer, requests: same } of observers.values()) {
      const value = observer.result()
      for (const request of same) answers.set(request, value)
    }
  }

  /** The walk that is under way, if it goes through this data and has not passed the place; else a new one. */
  async #walkAt(data: BatchSource, model: WhichModel, cut: number): Promise<Walk> {
    const kept = this.#walk
    if (kept?.data === data && kept.model === model && kept.walk.at <= cut) return kept.walk
    const walk = await this.#newWalk(data, model)
    this.#walk = { walk, data, model }
    return walk
  }

  async #newWalk(data: BatchSource, model: WalkedModel): Promise<Walk> {
    const windows: Int32Array[] = []
    for await (const batch of data) {
      this.checkBatch(batch)
      windows.push(...windowsOf(batch))
    }
    return this.#walkThrough(windows, model)
  }

  #walkThrough(windows: readonly Int32Array[], model: WalkedModel): Walk {
    const { state, engine } = this.#parts
    const longest = Math.max(0, ...windows.map((w) => w.length))
    if (longest > state.config.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'tokens', found: `a window of ${longest}`, expected: `at most ${state.config.context}, which the model was trained for` })
    return new Walk({
      config: state.config,
      program: this.#program(model),
      windows,
      prepare: prepareWith(engine, {
        matrix: (name) => this.#matrix(name, model),
        vector: (name) => (model === 'original' ? state.originalVectors : state.vectors).get(name),
      }),
    })
  }

  /** The forward pass, with the biases that came since the model was opened. */
  #program(model: WalkedModel): Program {
    const { state } = this.#parts
    const { config } = state
    // Float inputs: what is quantized are weights. A model that was trained with rounded inputs has them all the same.
    const program = decoderProgram(config, { rows: 1, wanted: 1, context: 1, cache: 'float32', activations: 'float32' })
    if (model === 'original') return program
    const vectors: Record<string, number> = { ...program.vectors }
    const steps = program.steps.map((step) => {
      if (step.op !== 'linear') return step
      return {
        ...step,
        products: step.products.map((product) => {
          const bias = `${product.to === 'logits' ? 'head' : product.matrix}.bias`
          const added = product.bias === undefined ? state.vectors.get(bias) : undefined
          if (added === undefined) return product
          vectors[bias] = added.length
          return { ...product, bias }
        }),
      }
    })
    return { ...program, vectors, steps }
  }

  /** A matrix as the model computes with it. */
  async #matrix(name: string, model: WalkedModel): Promise<ModelMatrix> {
    const { state } = this.#parts
    const part = this.#part(name)
    const q = model === 'current' ? this.assigned.get(name) : undefined
    if (q !== undefined) {
      // Products that round their inputs do so for codes only.
      if (state.config.roundedInputs) return q
      return { dtype: 'float32', shape: part.shape, data: this.#valuesOf(q, name) }
    }
    if (model === 'original' || !state.isChanged(name)) return state.source.matrix(part)
    return { dtype: 'float32', shape: part.shape, data: await state.floats(part) }
  }

  /** What codes stand for in the format that is aimed at. */
  #valuesOf(q: QTensor, name: string): Float32Array<ArrayBuffer> {
    if (this.#target === undefined) return dequantize(q).data as Float32Array<ArrayBuffer>
    const [rows = 0, columns = 0] = q.shape
    return partsValue(this.#storedAs(q, name).parts, [rows, columns])
  }

  #storedAs(q: QTensor, name: string): StoredWeight {
    const format = this.#target?.format ?? LM_FORMATS[0]
    const known = this.#stored.get(q)
    if (known !== undefined) return known
    // Bytes are made again when they are written: a model of them is not kept beside the codes.
    const { form, parts, tensors, reason } = format.store(q, name)
    const stored = { form, parts, tensors, ...(reason === undefined ? {} : { reason }) }
    this.#stored.set(q, stored)
    return stored
  }

  protected async compute(batch: Batch, model: WhichModel): Promise<Batch> {
    const windows = windowsOf(batch)
    const walk = this.#walkThrough(windows, model)
    await walk.goTo(walk.cuts.length)
    const { vocabulary } = this.#parts.state.config
    const [, length = 0] = batch['tokens'].shape
    const data = new Float32Array(windows.length * length * vocabulary)
    let at = 0
    for (const { data: values } of walk.values('logits')) {
      data.set(values, at)
      at += values.length
    }
    return { logits: { dtype: 'float32', shape: [windows.length, length, vocabulary], data } }
  }

  #aimAt(format: string | null, settings: Readonly<Record<string, Json>> = {}): void {
    this.checkOpen()
    const found = format === null ? undefined : formatOf(format)
    const { name, state, tokenizer } = this.#parts
    found?.check({ name, config: state.config, tokenizer })
    this.#target = found === undefined ? undefined : { format: found, settings }
    this.#lost.clear()
    for (const q of this.assigned.values()) this.#stored.delete(q)
    this.#walk = undefined
  }

  /** How what was decided so far will be stored. */
  plan(): Plan {
    this.checkOpen()
    const { format, settings } = this.#target ?? { format: LM_FORMATS[0], settings: {} }
    const weights: PlannedWeight[] = []
    for (const [owner, q] of this.assigned) {
      const { form, parts, tensors } = this.#storedAs(q, owner)
      const [rows = 0, columns = 0] = q.shape
      weights.push({ name: owner, sites: this.tiedTo(this.site(owner)).map(({ id }) => id), shape: [rows, columns], form, parts, tensors })
    }
    return {
      plan: PLAN_VERSION,
      format: format.name,
      settings,
      weights,
      biases: [],
      activations: [],
      notes: this.#notes(),
      sites: this.#sites.map((site) => {
        const q = this.assigned.get(ownerOf(site))
        const reason = q === undefined ? undefined : this.#storedAs(q, ownerOf(site)).reason
        return { site: site.id, status: q === undefined ? 'float' : 'quantized', operator: site.op, input: 'float', ...(q === undefined ? {} : { weight: ownerOf(site) }), ...(reason === undefined ? {} : { reason }) }
      }),
    }
  }

  #notes(): readonly string[] {
    return this.#lost.size === 0 ? [] : [`${this.#target?.format.name ?? 'the format'} has no bias for ${this.#lost.size} outputs (${[...this.#lost].slice(0, 3).join(', ')}${this.#lost.size > 3 ? ', …' : ''}): their means stay as rounding left them`]
  }

  protected async write(format: string, options: EmitOptions): Promise<Artifact> {
    const { state, name, tokenizer, files } = this.#parts
    const edits = state.edits()
    const snapshot: LmSnapshot = {
      name,
      config: state.config,
      source: state.source,
      sites: this.#sites,
      codes: new Map(this.assigned),
      isChanged: (part) => edits.has(part.name),
      floats: (part) => state.floats(part, edits),
      vectors: new Map(state.vectors),
      tokenizer,
      ...(files === undefined ? {} : { files }),
    }
    const artifact = await formatOf(format).write(snapshot, options)
    return { ...artifact, notes: [...artifact.notes, ...this.#notes()] }
  }

  protected override async close(): Promise<void> {
    this.#walk = undefined
    this.#parts.engine.dispose()
    await this.#parts.state.source.close()
  }

  #sha256(): Promise<string> {
    this.checkOpen()
    return (this.#fingerprint ??= fingerprintOf(this.#parts.state))
  }

  /** A matrix changed: a walk that has passed it is no longer true. */
  #touched(matrix: string): void {
    if (this.#walk === undefined || this.#walk.model === 'original') return
    // The embedding is where every walk begins.
    const cut = matrix === 'embed' ? -1 : (this.#cutOf.get(matrix) ?? -1)
    if (this.#walk.walk.at > cut) this.#walk = undefined
  }

  /** Name of the matrix that a site multiplies by. */
  #matrixOf(site: Site): string {
    return site.id === 'head' ? headName(this.#parts.state.config) : site.id
  }

  #partOf(site: Site): Part {
    return this.#part(ownerOf(site))
  }

  #part(name: string): Part {
    const part = this.#parts.state.parts.get(name)
    if (part === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `matrix ${name}`, found: 'the model has none of this name' })
    return part
  }
}

/** Texts of a batch, a row each. */
function windowsOf(batch: Batch): Int32Array[] {
  const { shape: [count = 0, length = 0], data } = batch['tokens']
  const tokens = Int32Array.from(data as Int32Array)
  return Array.from({ length: count }, (_, i) => tokens.slice(i * length, (i + 1) * length)).filter((w) => w.length > 0)
}

const describeTarget = ({ target }: StatisticRequest): string => ('site' in target ? target.site : target.tensor)

function formatOf(name: string): LmFormat {
  const found = LM_FORMATS.find((f) => f.name === name)
  if (found === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format '${name}'`, found: 'language models are not written to it', expected: LM_FORMATS.map((f) => f.name).join(', ') })
  return found
}

