import {
  type Acceptance,
  type ActivationParams,
  type ActivationPoint,
  type ApplyResult,
  type Artifact,
  type Batch,
  checkQTensor,
  type EmitOptions,
  type FoldGroup,
  type HostCapabilities,
  type HostSupports,
  type HostTensor,
  type Json,
  LowbitError,
  type ModelHost,
  type QTensor,
  type ResidualStream,
  type Scheme,
  type Site,
  type Statistics,
  type TensorRef,
  throwIfAborted,
  type Transform,
} from '@lowbit/core'
import type { TensorProto } from '@lowbit/formats'
import { simulatePlan, writePlan } from '../emit/index.js'
import { type Graph, toTensorRef } from '../graph/index.js'
import { fingerprint, finishModel, type ModelSource, onnxArtifact } from '../model/index.js'
import { type Decisions, expectFormat, FORMATS, neutralPlan, ONNX_SETTINGS, type OnnxPlan, planModel, readSettings } from '../plan/index.js'
import { showStored } from '../normalize/index.js'
import { expectRecord, findSites, type FoundSites, readRows, type SiteRecord, untransposeGemms, writeRows } from '../sites/index.js'
import { activationPoints, type PointOptions } from '../static/index.js'
import { addBias, applyRotation, applyScale, describeGroup, describeStream, findStreams, type GroupRecord, groupSites, rotateStream } from '../transforms/index.js'
import { VERSION } from '../version.js'

/** What an ONNX model can do without a runtime. */
const SUPPORTS: HostSupports = {
  formats: FORMATS.map((f) => f.name),
  nativeStatistics: [],
  statistics: [],
  transforms: ['scale', 'rotate', 'clip'],
  siteKinds: ['linear', 'conv', 'embedding', 'stored'],
  activations: true,
  capabilities: ['residual', 'fingerprint', 'plans'],
  settings: ONNX_SETTINGS,
  staticFormats: ['qdq', 'qoperator'],
  tolerance: { relative: 0, reason: 'nothing is run' },
}

/**
 * An ONNX model without a runtime, opened by {@link openOnnxGraph}: sites, weights, transforms, plans and files. What takes running
 * it (statistics, outputs) is refused; a backend with a runtime extends it.
 */
export class OnnxGraphHost implements ModelHost {
  readonly kind = 'host'
  readonly name: string = '@lowbit/onnx'
  readonly version: string = VERSION
  readonly apiVersion = 2
  readonly config = {}
  readonly supports: HostSupports = SUPPORTS
  readonly capabilities: HostCapabilities = this.graphCapabilities()
  /** What was done to the model when it was opened, in sentences. */
  readonly prepared: readonly string[]
  readonly saved: number
  protected readonly source: ModelSource
  protected readonly original: Graph
  /** With transforms applied. */
  protected readonly graph: Graph
  /** By the owner of the weight. */
  protected readonly assigned = new Map<string, QTensor>()
  protected readonly activationParams = new Map<string, ActivationParams>()
  readonly #found: FoundSites
  readonly #groups: readonly GroupRecord[]
  #points: readonly ActivationPoint[] | undefined
  #target: { readonly format: string; readonly settings: Readonly<Record<string, Json>> } | undefined
  #plan: OnnxPlan | undefined
  #disposed = false

  /** Use {@link openOnnxGraph}. */
  constructor(source: ModelSource, graph: Graph, prepared: readonly string[] = []) {
    this.source = source
    this.prepared = [...source.notes, ...prepared]
    this.saved = source.saved
    untransposeGemms(graph)
    showStored(graph)
    this.original = graph
    this.graph = this.original.clone()
    this.#found = findSites(this.graph)
    this.#groups = groupSites(this.records)
  }

  /** What takes no runtime. */
  protected graphCapabilities(): Required<Pick<HostCapabilities, 'residual' | 'fingerprint' | 'plans'>> {
    return {
      residual: { streams: () => this.#residualStreams(), rotate: (stream, rotation) => this.#rotateStream(stream, rotation) },
      fingerprint: {
        sha256: () => {
          this.checkOpen()
          return fingerprint(this.original, this.source)
        },
      },
      plans: { target: (format, settings) => this.#aimAt(format, settings), plan: () => this.plan() },
    }
  }

  /** The sites, and where they stand in the graph. */
  protected get records(): readonly SiteRecord[] {
    return this.#found.records
  }

  inputs(): readonly TensorRef[] {
    return this.original.proto.input.filter((i) => this.original.initializer(i.name) === undefined).map(toTensorRef)
  }

  outputs(): readonly TensorRef[] {
    return this.original.proto.output.map(toTensorRef)
  }

  sites(): readonly Site[] {
    return this.records.map((r) => r.site)
  }

  skipped(): readonly { readonly id: string; readonly reason: string; readonly bytes?: number }[] {
    return this.#found.skipped
  }

  foldGroups(): readonly FoldGroup[] {
    return this.#groups.map((group) => describeGroup(this.graph, this.records, group))
  }

  activations(): readonly ActivationPoint[] {
    return (this.#points ??= activationPoints(this.graph, this.records, this.pointOptions()))
  }

  size(): number {
    return this.source.size
  }

  /** Paths of the files that are read: the model's own first, then its external data. None for a model given as bytes. */
  files(): readonly string[] {
    return this.source.paths()
  }

  accepts(site: string, scheme: Scheme, format: string): Acceptance {
    const { accepts } = expectFormat(format)
    for (const record of this.#tied(site)) {
      const answer = accepts(record, scheme)
      if (!answer.ok) return answer
    }
    return { ok: true }
  }

  async readWeight(site: string): Promise<HostTensor<'float32'>> {
    this.checkOpen()
    return readRows(this.graph, this.#record(site), this.source.load)
  }

  async writeWeight(site: string, weight: HostTensor<'float32'>): Promise<void> {
    this.checkOpen()
    const { rows, columns } = this.#record(site).matrix
    if (weight.shape.length !== 2 || weight.shape[0] !== rows || weight.shape[1] !== columns) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `weight for site '${site}'`, found: `[${weight.shape.join(', ')}]`, expected: `[${rows}, ${columns}]` })
    }
    writeRows(this.graph, this.#tied(site), weight.data.slice())
    this.changed()
  }

  async addBias(site: string, delta: Float32Array): Promise<void> {
    this.checkOpen()
    await addBias(this.graph, this.#record(site), delta, this.source.load)
    this.#reshaped()
  }

  async apply(group: string, transform: Transform): Promise<ApplyResult> {
    this.checkOpen()
    const found = this.#groups.find((g) => g.id === group)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `fold group '${group}'`, found: 'the model has none of this name', fix: 'list them with foldGroups()' })
    this.#reshaped()
    if (transform.kind === 'scale') return applyScale(this.graph, this.records, found, transform.scales, this.source.load)
    if (transform.kind === 'rotate') return applyRotation(this.graph, this.records, found, transform.signs, transform.order, this.source.load)
    await this.writeWeight(transform.site, transform.weight)
    return { how: 'folded' }
  }

  async #residualStreams(): Promise<readonly ResidualStream[]> {
    this.checkOpen()
    return Promise.all(findStreams(this.graph, this.records).map((s) => describeStream(this.graph, s, this.source.load)))
  }

  async #rotateStream(id: string, { signs, order }: Extract<Transform, { readonly kind: 'rotate' }>): Promise<ApplyResult> {
    this.checkOpen()
    const stream = findStreams(this.graph, this.records).find((s) => s.id === id)
    if (stream === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `residual stream '${id}'`, found: 'the model has none of this name', fix: 'list them with capabilities.residual.streams()' })
    this.#reshaped()
    return rotateStream(this.graph, this.records, stream, signs, order, this.source.load)
  }

  assign(site: string, q: QTensor | null): void {
    const { record, owner } = this.#ownerOf(site)
    if (q === null) this.assigned.delete(owner)
    else {
      const { rows, columns } = record.matrix
      checkQTensor(q, `codes for site '${site}'`)
      if (q.shape.length !== 2 || q.shape[0] !== rows || q.shape[1] !== columns) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: `codes for site '${site}'`, found: `[${q.shape.join(', ')}]`, expected: `[${rows}, ${columns}]` })
      }
      this.assigned.set(owner, q)
    }
    this.changed()
  }

  assignActivation(point: string, params: ActivationParams | null): void {
    if (this.graph.producer(point) === undefined && !this.graph.isInput(point)) {
      throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `activation '${point}'`, found: 'no tensor of this name', fix: 'list them with activations()' })
    }
    if (params === null) this.activationParams.delete(point)
    else this.activationParams.set(point, params)
    this.changed()
  }

  #aimAt(format: string | null, settings: Readonly<Record<string, Json>> = {}): void {
    if (format !== null) readSettings(expectFormat(format).name, settings)
    this.#target = format === null ? undefined : { format, settings }
    this.changed()
  }

  /** How what was decided so far will be stored. */
  plan(): OnnxPlan {
    this.checkOpen()
    const target = this.#target
    return (this.#plan ??= target === undefined ? neutralPlan(this.graph, this.records, this.#decisions()) : planModel(this.graph, this.records, this.#decisions(), target.format, target.settings))
  }

  async emit(format: string, options: EmitOptions = {}): Promise<Artifact> {
    this.checkOpen()
    throwIfAborted(options.signal, `writing ${format}`)
    const { graph, records } = this.clone(this.graph)
    const plan = planModel(this.graph, this.records, this.#decisions(), format, options.settings)
    writePlan(graph, records, plan, options.signal)
    if (options.provenance !== undefined) graph.setMetadata('lowbit.recipe', JSON.stringify(options.provenance.recipe))
    return onnxArtifact(format, finishModel(graph), this.source, plan.notes)
  }

  /** @throws LOWBIT_UNSUPPORTED */
  observe(...[requests]: Parameters<ModelHost['observe']>): Promise<Statistics> {
    return Promise.reject(noRuntime(`statistics (${[...new Set(requests.map((r) => r.statistic))].join(', ')})`))
  }

  /** @throws LOWBIT_UNSUPPORTED */
  run(...[batch]: Parameters<ModelHost['run']>): Promise<Batch> {
    return Promise.reject(noRuntime(`a run with ${Object.keys(batch).join(', ') || 'no inputs'}`))
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    this.changed()
    await this.source.close()
  }

  /** A graph of one's own, as the model now stands: transformed, with decided sites and activations rounded. Weights are shared. */
  graphNow(): Graph {
    return this.current().graph
  }

  /** A stored tensor of the model, wherever its data stands. */
  loadTensor(tensor: TensorProto): Promise<HostTensor> {
    this.checkOpen()
    return this.source.load(tensor)
  }

  /** The model as it now stands: transformed, decided sites and activations rounded. */
  protected current(): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    const copy = this.clone(this.graph)
    simulatePlan(copy.graph, copy.records, this.plan())
    return copy
  }

  #decisions(): Decisions {
    return { weights: this.assigned, activations: this.activationParams }
  }

  /** The model as it would be written. */
  protected written(): Graph {
    const { graph, records } = this.clone(this.graph)
    writePlan(graph, records, this.plan())
    finishModel(graph)
    return graph
  }

  protected clone(graph: Graph): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    // Records of their own: what an emitter puts behind an operator moves its anchor.
    return { graph: graph.clone(), records: this.records.map((r) => ({ ...r })) }
  }

  #record(site: string): SiteRecord {
    return expectRecord(this.records, site)
  }

  #ownerOf(site: string): { readonly record: SiteRecord; readonly owner: string } {
    const record = this.#record(site)
    return { record, owner: record.site.tiedTo ?? record.site.id }
  }

  /** The owner of a site's weight and all sites tied to it. */
  #tied(site: string): readonly SiteRecord[] {
    const { owner } = this.#ownerOf(site)
    return this.records.filter((r) => (r.site.tiedTo ?? r.site.id) === owner)
  }

  /** Operators were added: other tensors stand between them now. */
  #reshaped(): void {
    this.#points = undefined
    this.changed()
  }

  /** Decisions or transforms changed: what was made from them no longer fits. */
  protected changed(): void {
    this.#plan = undefined
  }

  /** Which operators `activations()` shows. */
  protected pointOptions(): PointOptions {
    return {}
  }

  /** The model is as it was, its points are not. */
  protected pointsChanged(): void {
    this.#points = undefined
  }

  /** True with a format that is going to be written. */
  protected hasTarget(): boolean {
    return this.#target !== undefined
  }

  protected checkOpen(): void {
    if (this.#disposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: 'ONNX model', found: 'already disposed', fix: 'open it again' })
  }
}

function noRuntime(thing: string): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'a model that was opened without a runtime', fix: 'open it with openOnnx of @lowbit/backend-ort' })
}
