import {
  AbstractHost,
  type Acceptance,
  type ActivationPoint,
  type ApplyResult,
  type Artifact,
  type Batch,
  type EmitOptions,
  type FoldGroup,
  type HostCapabilities,
  type HostSupports,
  type HostTensor,
  type Json,
  inSlices,
  LowbitError,
  type ResidualStream,
  type Scheme,
  type Site,
  type Statistics,
  type TensorRef,
  type Transform,
} from '@lowbit/core'
import type { TensorProto } from '@lowbit/formats'
import { simulatePlan, writePlan, writePlanSlices } from '../emit/index.js'
import { type Graph, toTensorRef } from '../graph/index.js'
import { fingerprint, finishModel, type ModelSource, onnxArtifact } from '../model/index.js'
import { type Decisions, expectFormat, FORMATS, neutralPlan, ONNX_SETTINGS, type OnnxPlan, planModel, readSettings } from '../plan/index.js'
import { showStored } from '../normalize/index.js'
import { expectRecord, findSites, type FoundSites, readRows, type SiteRecord, untransposeGemms, writeRows } from '../sites/index.js'
import { activationPoints, type PointOptions } from '../static/index.js'
import { describeGroup, type GroupRecord, groupSites } from '../transforms/fold-groups.js'
import { VERSION } from '../version.js'
import { writtenBy } from './written-by.js'

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
export class OnnxGraphHost extends AbstractHost {
  readonly name: string = '@lowbit/onnx'
  readonly version: string = VERSION
  readonly config = {}
  readonly supports: HostSupports = SUPPORTS
  override readonly capabilities: HostCapabilities = this.graphCapabilities()
  /** What was done to the model when it was opened, in sentences. */
  readonly prepared: readonly string[]
  protected readonly source: ModelSource
  protected readonly original: Graph
  /** With transforms applied. */
  protected readonly graph: Graph
  readonly #found: FoundSites
  readonly #groups: readonly GroupRecord[]
  #points: readonly ActivationPoint[] | undefined
  #target: { readonly format: string; readonly settings: Readonly<Record<string, Json>> } | undefined
  #plan: OnnxPlan | undefined

  /** Use {@link openOnnxGraph}. */
  constructor(source: ModelSource, graph: Graph, prepared: readonly string[] = []) {
    super()
    this.source = source
    this.prepared = [...source.notes, ...prepared]
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

  override skipped(): readonly { readonly id: string; readonly reason: string; readonly bytes?: number }[] {
    return this.#found.skipped
  }

  foldGroups(): readonly FoldGroup[] {
    return this.#groups.map((group) => describeGroup(this.graph, this.records, group))
  }

  override activations(): readonly ActivationPoint[] {
    return (this.#points ??= activationPoints(this.graph, this.records, this.pointOptions()))
  }

  size(): number {
    return this.source.size
  }

  override saved(): number {
    return this.source.saved
  }

  /** Paths of the files that are read: the model's own first, then its external data. None for a model given as bytes. */
  files(): readonly string[] {
    return this.source.paths()
  }

  /** How what was decided so far will be stored. */
  plan(): OnnxPlan {
    this.checkOpen()
    const target = this.#target
    return (this.#plan ??= target === undefined ? neutralPlan(this.graph, this.records, this.#decisions()) : planModel(this.graph, this.records, this.#decisions(), target.format, target.settings))
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

  protected acceptsScheme(site: Site, scheme: Scheme, format: string): Acceptance {
    return expectFormat(format).accepts(this.#record(site), scheme)
  }

  protected async weightOf(site: Site): Promise<Float32Array<ArrayBuffer>> {
    return Float32Array.from((await readRows(this.graph, this.#record(site), this.source.load)).data)
  }

  protected setWeight(site: Site, weight: Float32Array<ArrayBuffer>): void {
    writeRows(this.graph, this.tiedTo(site).map((s) => this.#record(s)), weight)
  }

  protected async shiftOutput(site: Site, delta: Float32Array): Promise<void> {
    const { addBias } = await import('../transforms/bias.js')
    await addBias(this.graph, this.#record(site), delta, this.source.load)
    this.#points = undefined
  }

  protected override group(id: string): FoldGroup | undefined {
    const found = this.#groups.find((g) => g.id === id)
    return found === undefined ? undefined : describeGroup(this.graph, this.records, found)
  }

  protected async transform({ id }: FoldGroup, transform: Exclude<Transform, { readonly kind: 'clip' }>): Promise<ApplyResult> {
    const found = this.#groups.find((g) => g.id === id)
    if (found === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `fold group '${id}'`, found: 'no record of it' })
    this.#points = undefined
    if (transform.kind === 'scale') return (await import('../transforms/scale.js')).applyScale(this.graph, this.records, found, transform.scales, this.source.load)
    return (await import('../transforms/rotate.js')).applyRotation(this.graph, this.records, found, transform.signs, transform.order, this.source.load)
  }

  protected override canQuantize(point: string): boolean {
    return this.graph.producer(point) !== undefined || this.graph.isInput(point)
  }

  protected async write(format: string, { settings, provenance, signal }: EmitOptions): Promise<Artifact> {
    const { graph, records } = this.clone(this.graph)
    const plan = planModel(this.graph, this.records, this.#decisions(), format, settings)
    await inSlices(writePlanSlices(graph, records, plan), signal, `writing ${format}`)
    if (provenance !== undefined) graph.setMetadata('lowbit.recipe', JSON.stringify(writtenBy(provenance.recipe, this.name)))
    return onnxArtifact(format, finishModel(graph), this.source, plan.notes)
  }

  /** @throws LOWBIT_UNSUPPORTED */
  protected collect(...[requests]: Parameters<AbstractHost['collect']>): Promise<Statistics> {
    return Promise.reject(noRuntime(`statistics (${requests.map((r) => r.statistic).join(', ')})`))
  }

  /** @throws LOWBIT_UNSUPPORTED */
  protected compute(...[batch]: Parameters<AbstractHost['compute']>): Promise<Batch> {
    return Promise.reject(noRuntime(`a run with ${Object.keys(batch).join(', ')}`))
  }

  protected override unsupportedStatistic(name: string): LowbitError {
    return this.supports.statistics.length === 0 ? noRuntime(`statistic '${name}'`) : super.unsupportedStatistic(name)
  }

  protected override async close(): Promise<void> {
    this.changed()
    await this.source.close()
  }

  /** The model as it now stands: transformed, decided sites and activations rounded. */
  protected current(): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    const copy = this.clone(this.graph)
    simulatePlan(copy.graph, copy.records, this.plan())
    return copy
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

  /** Decisions or transforms changed: what was made from them no longer fits. */
  protected override changed(): void {
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

  #aimAt(format: string | null, settings: Readonly<Record<string, Json>> = {}): void {
    this.checkOpen()
    if (format !== null) readSettings(expectFormat(format).name, settings)
    this.#target = format === null ? undefined : { format, settings }
    this.changed()
  }

  async #residualStreams(): Promise<readonly ResidualStream[]> {
    this.checkOpen()
    const [{ findStreams }, { describeStream }] = await Promise.all([import('../transforms/residual-stream.js'), import('../transforms/rotate-stream.js')])
    return Promise.all(findStreams(this.graph, this.records).map((s) => describeStream(this.graph, s, this.source.load)))
  }

  async #rotateStream(id: string, { signs, order }: Extract<Transform, { readonly kind: 'rotate' }>): Promise<ApplyResult> {
    this.checkOpen()
    const [{ findStreams }, { rotateStream }] = await Promise.all([import('../transforms/residual-stream.js'), import('../transforms/rotate-stream.js')])
    const streams = findStreams(this.graph, this.records)
    const stream = streams.find((s) => s.id === id)
    if (stream === undefined) throw this.unknown('residual stream', id, streams.map((s) => s.id), 'capabilities.residual.streams()')
    this.#points = undefined
    this.changed()
    const result = await rotateStream(this.graph, this.records, stream, signs, order, this.source.load)
    this.changed()
    return result
  }

  #decisions(): Decisions {
    return { weights: this.assigned, activations: this.assignedActivations }
  }

  #record(site: Site): SiteRecord {
    return expectRecord(this.records, site.id)
  }
}

function noRuntime(thing: string): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'a model that was opened without a runtime', fix: 'open it with openOnnx of @lowbit/backend-ort' })
}
