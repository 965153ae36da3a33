import {
  type Acceptance,
  type ActivationParams,
  type ActivationPoint,
  type ApplyResult,
  type Artifact,
  type Batch,
  type BatchSource,
  checkQTensor,
  type EmitOptions,
  type FoldGroup,
  type HostCapabilities,
  type HostSupports,
  type HostTensor,
  LowbitError,
  type ModelHost,
  type ResidualStream,
  type ObserveOptions,
  type OperatorChoice,
  type QTensor,
  type Scheme,
  type Site,
  type StatisticRequest,
  type Statistics,
  type TensorRef,
  throwIfAborted,
  type Transform,
} from '@lowbit/core'
import type { TensorProto } from '@lowbit/formats'
import { activationPoints, addBias, applyRotation, applyScale, describeGroup, describeStream, EMITTERS, expectEmitter, expectRecord, fakeQuantizeActivations, fakeQuantizeWeights, findSites, findStreams, fingerprint, finishModel, type FoundSites, type Graph, type GroupRecord, groupSites, type ModelSource, onnxArtifact, readRows, rotateStream, showStored, type SiteRecord, STATIC_OPERATORS, toTensorRef, untransposeGemms, writeRows } from '@lowbit/onnx'
import { tensorInfo } from '../calibrate/index.js'
import { findOrt, type OrtModule, type SessionOptions } from '../ort.js'
import { AS_WRITTEN, type Session } from '../session.js'
import { VERSION } from '../version.js'
import { observe } from './observe.js'
import { outputsUnder } from './outputs-under.js'
import { openGraph } from './running-model.js'

type Which = 'current' | 'original'

/** What the ONNX backend can do. */
const SUPPORTS: HostSupports = {
  formats: EMITTERS.map((e) => e.format),
  nativeStatistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'gram', 'cross-gram'],
  statistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples'],
  transforms: ['scale', 'rotate', 'clip'],
  siteKinds: ['linear', 'conv', 'embedding', 'stored'],
  activations: true,
  capabilities: ['residual', 'operators', 'fingerprint', 'outputsUnder'],
  tolerance: { relative: 1e-4, reason: 'ONNX Runtime sums float32 products in an order of its own' },
}

/** An ONNX model, opened by {@link openOnnx}. */
export class OnnxHost implements ModelHost {
  readonly kind = 'host'
  readonly name = '@lowbit/backend-ort'
  readonly version = VERSION
  readonly apiVersion = 2
  readonly config = {}
  readonly supports = SUPPORTS
  readonly capabilities: Required<HostCapabilities> = {
    residual: { streams: () => this.#residualStreams(), rotate: (stream, rotation) => this.#rotateStream(stream, rotation) },
    operators: { choose: (choice) => this.#chooseOperators(choice) },
    fingerprint: {
      sha256: () => {
        this.#checkOpen()
        return fingerprint(this.#original, this.#source)
      },
    },
    outputsUnder: {
      run: async (sets, batches, see, { signal } = {}) => {
        this.#checkOpen()
        const { graph, records } = this.#clone(this.#graph)
        await outputsUnder({ open: (made, session) => this.openGraph(made, session), graph, sites: records, weights: this.#assigned, activations: this.#activations }, sets, batches, see, signal)
      },
    },
  }
  /** What preparation did, in sentences. */
  readonly prepared: readonly string[]
  readonly saved: number
  readonly #source: ModelSource
  readonly #given: OrtModule | undefined
  readonly #session: SessionOptions
  readonly #original: Graph
  /** With transforms applied. */
  readonly #graph: Graph
  readonly #found: FoundSites
  readonly #groups: readonly GroupRecord[]
  /** By the owner of the weight. */
  readonly #assigned = new Map<string, QTensor>()
  readonly #activations = new Map<string, ActivationParams>()
  readonly #sessions = new Map<Which, Promise<Session>>()
  #points: readonly ActivationPoint[] | undefined
  #operators: OperatorChoice = 'default'
  /** Of the tensors as they were when operators were chosen. */
  #types: ReadonlyMap<string, TensorRef> = new Map()
  #disposed = false

  /** Use {@link openOnnx}. */
  constructor(source: ModelSource, graph: Graph, ort: OrtModule | undefined, session: SessionOptions, prepared: readonly string[] = []) {
    this.prepared = [...source.notes, ...prepared]
    this.saved = source.saved
    this.#source = source
    this.#given = ort
    this.#session = session
    untransposeGemms(graph)
    showStored(graph)
    this.#original = graph
    this.#graph = this.#original.clone()
    this.#found = findSites(this.#graph)
    this.#groups = groupSites(this.#found.records)
  }

  inputs(): readonly TensorRef[] {
    return this.#original.proto.input.filter((i) => this.#original.initializer(i.name) === undefined).map(toTensorRef)
  }

  outputs(): readonly TensorRef[] {
    return this.#original.proto.output.map(toTensorRef)
  }

  sites(): readonly Site[] {
    return this.#found.records.map((r) => r.site)
  }

  skipped(): readonly { readonly id: string; readonly reason: string; readonly bytes?: number }[] {
    return this.#found.skipped
  }

  foldGroups(): readonly FoldGroup[] {
    return this.#groups.map((group) => describeGroup(this.#graph, this.#found.records, group))
  }

  activations(): readonly ActivationPoint[] {
    return (this.#points ??= activationPoints(this.#graph, this.#found.records, { operators: this.#operators, types: this.#types }))
  }

  async #chooseOperators(choice: OperatorChoice): Promise<void> {
    this.#checkOpen()
    const unknown = typeof choice === 'string' ? undefined : choice.find((op) => !STATIC_OPERATORS.includes(op))
    if (unknown !== undefined) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: `operator '${unknown}'`, found: 'not one that static quantization can take', expected: STATIC_OPERATORS.join(', ') })
    }
    this.#operators = choice
    this.#points = undefined
    if (choice !== 'default') this.#types = await tensorInfo(await findOrt(this.#given), this.#graph, (probe, session) => this.openGraph(probe, session))
  }

  size(): number {
    return this.#source.size
  }

  /** Paths of the files that are read: the model's own first, then its external data. None for a model given as bytes. */
  files(): readonly string[] {
    return this.#source.paths()
  }

  accepts(site: string, scheme: Scheme, format: string): Acceptance {
    const emitter = expectEmitter(format)
    for (const record of this.#tied(site)) {
      const answer = emitter.accepts(record, scheme)
      if (!answer.ok) return answer
    }
    return { ok: true }
  }

  async readWeight(site: string): Promise<HostTensor<'float32'>> {
    this.#checkOpen()
    return readRows(this.#graph, this.#record(site), this.#source.load)
  }

  async writeWeight(site: string, weight: HostTensor<'float32'>): Promise<void> {
    this.#checkOpen()
    const { rows, columns } = this.#record(site).matrix
    if (weight.shape.length !== 2 || weight.shape[0] !== rows || weight.shape[1] !== columns) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `weight for site '${site}'`, found: `[${weight.shape.join(', ')}]`, expected: `[${rows}, ${columns}]` })
    }
    writeRows(this.#graph, this.#tied(site), weight.data.slice())
    this.#changed()
  }

  async addBias(site: string, delta: Float32Array): Promise<void> {
    this.#checkOpen()
    await addBias(this.#graph, this.#record(site), delta, this.#source.load)
    this.#reshaped()
  }

  async apply(group: string, transform: Transform): Promise<ApplyResult> {
    this.#checkOpen()
    const found = this.#groups.find((g) => g.id === group)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `fold group '${group}'`, found: 'the model has none of this name', fix: 'list them with foldGroups()' })
    const { records } = this.#found
    this.#reshaped()
    if (transform.kind === 'scale') return applyScale(this.#graph, records, found, transform.scales, this.#source.load)
    if (transform.kind === 'rotate') return applyRotation(this.#graph, records, found, transform.signs, transform.order, this.#source.load)
    await this.writeWeight(transform.site, transform.weight)
    return { how: 'folded' }
  }

  async #residualStreams(): Promise<readonly ResidualStream[]> {
    this.#checkOpen()
    return Promise.all(findStreams(this.#graph, this.#found.records).map((s) => describeStream(this.#graph, s, this.#source.load)))
  }

  async #rotateStream(id: string, { signs, order }: Extract<Transform, { readonly kind: 'rotate' }>): Promise<ApplyResult> {
    this.#checkOpen()
    const stream = findStreams(this.#graph, this.#found.records).find((s) => s.id === id)
    if (stream === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `residual stream '${id}'`, found: 'the model has none of this name', fix: 'list them with capabilities.residual.streams()' })
    this.#reshaped()
    return rotateStream(this.#graph, this.#found.records, stream, signs, order, this.#source.load)
  }

  async observe(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions = {}): Promise<Statistics> {
    this.#checkOpen()
    const original = options.model === 'original'
    const { graph, records } = original ? this.#cloneOriginal() : this.#cloneCurrent()
    return observe({ ort: await findOrt(this.#given), graph, original: this.#original, sites: records, open: (made, session) => this.openGraph(made, session) }, requests, data, options)
  }

  assign(site: string, q: QTensor | null): void {
    const { record, owner } = this.#ownerOf(site)
    if (q === null) this.#assigned.delete(owner)
    else {
      const { rows, columns } = record.matrix
      checkQTensor(q, `codes for site '${site}'`)
      if (q.shape.length !== 2 || q.shape[0] !== rows || q.shape[1] !== columns) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: `codes for site '${site}'`, found: `[${q.shape.join(', ')}]`, expected: `[${rows}, ${columns}]` })
      }
      this.#assigned.set(owner, q)
    }
    this.#changed()
  }

  assignActivation(point: string, params: ActivationParams | null): void {
    if (this.#graph.producer(point) === undefined && !this.#graph.isInput(point)) {
      throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `activation '${point}'`, found: 'no tensor of this name', fix: 'list them with activations()' })
    }
    if (params === null) this.#activations.delete(point)
    else this.#activations.set(point, params)
    this.#changed()
  }

  async run(batch: Batch, options: { readonly model?: Which } = {}): Promise<Batch> {
    this.#checkOpen()
    const which = options.model ?? 'current'
    let session = this.#sessions.get(which)
    if (session === undefined) {
      session = this.#open(which)
      this.#sessions.set(which, session)
      session.catch(() => this.#sessions.delete(which))
    }
    return (await session).run(batch)
  }

  async emit(format: string, options: EmitOptions = {}): Promise<Artifact> {
    this.#checkOpen()
    throwIfAborted(options.signal, `writing ${format}`)
    const emitter = expectEmitter(format)
    const { graph, records } = this.#clone(this.#graph)
    const notes: string[] = []
    const sites = records.flatMap((record) => {
      const q = this.#assigned.get(record.site.tiedTo ?? record.site.id)
      return q === undefined ? [] : [{ record, q }]
    })
    emitter.emit({ graph, records, sites, activations: this.#activations, settings: options.settings ?? {}, notes, signal: options.signal })
    if (options.provenance !== undefined) graph.setMetadata('lowbit.recipe', JSON.stringify(options.provenance.recipe))
    return onnxArtifact(format, finishModel(graph), this.#source, notes)
  }

  /** A graph of one's own, as the model now stands: transformed, with decided sites and activations rounded. Weights are shared. */
  graphNow(): Graph {
    return this.#cloneCurrent().graph
  }

  /** Loads a graph that was made from {@link graphNow} into this host's runtime. The caller releases the session. */
  async openGraph(graph: Graph, session: SessionOptions = {}): Promise<Session> {
    return openGraph(await findOrt(this.#given), graph, this.#source, { ...session, ...this.#session })
  }

  /** A stored tensor of the model, wherever its data stands. */
  loadTensor(tensor: TensorProto): Promise<HostTensor> {
    this.#checkOpen()
    return this.#source.load(tensor)
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    this.#changed()
    await this.#source.close()
  }

  async #open(which: Which): Promise<Session> {
    return which === 'original' ? this.openGraph(this.#original) : this.openGraph(this.graphNow(), this.#activations.size > 0 ? AS_WRITTEN : {})
  }

  /** The model as it now stands: transformed, decided sites and activations rounded. */
  #cloneCurrent(): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    const copy = this.#clone(this.#graph)
    fakeQuantizeWeights(copy.graph, copy.records, this.#assigned)
    fakeQuantizeActivations(copy.graph, this.#activations)
    return copy
  }

  #cloneOriginal(): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    return { graph: this.#original.clone(), records: findSites(this.#original).records }
  }

  #clone(graph: Graph): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    // Records of their own: what an emitter puts behind an operator moves its anchor.
    return { graph: graph.clone(), records: this.#found.records.map((r) => ({ ...r })) }
  }

  #record(site: string): SiteRecord {
    return expectRecord(this.#found.records, site)
  }

  #ownerOf(site: string): { readonly record: SiteRecord; readonly owner: string } {
    const record = this.#record(site)
    return { record, owner: record.site.tiedTo ?? record.site.id }
  }

  /** The owner of a site's weight and all sites tied to it. */
  #tied(site: string): readonly SiteRecord[] {
    const { owner } = this.#ownerOf(site)
    return this.#found.records.filter((r) => (r.site.tiedTo ?? r.site.id) === owner)
  }

  /** Operators were added: other tensors stand between them now. */
  #reshaped(): void {
    this.#points = undefined
    this.#changed()
  }

  /** Sessions of the current model no longer fit it. */
  #changed(): void {
    for (const [which, session] of this.#sessions) {
      if (which === 'original' && !this.#disposed) continue
      this.#sessions.delete(which)
      session.then((s) => s.release()).catch(() => {})
    }
  }

  #checkOpen(): void {
    if (this.#disposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: 'ONNX model', found: 'already disposed', fix: 'open it again' })
  }
}
