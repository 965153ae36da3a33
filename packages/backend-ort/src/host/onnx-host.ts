import {
  type Batch,
  type BatchSource,
  type HostCapabilities,
  type HostSupports,
  LowbitError,
  type ObserveOptions,
  type OperatorChoice,
  type StatisticRequest,
  type Statistics,
  type TensorRef,
  type WhichModel,
} from '@lowbit/core'
import { findSites, FORMATS, type Graph, type ModelSource, ONNX_SETTINGS, OnnxGraphHost, type PointOptions, type SiteRecord, STATIC_OPERATORS } from '@lowbit/onnx'
import { tensorInfo } from '../calibrate/index.js'
import { findOrt, type OrtModule, type SessionOptions } from '../ort.js'
import { asWritten, type Session } from '../session.js'
import { VERSION } from '../version.js'
import { observe } from './observe.js'
import { outputsUnder } from './outputs-under.js'
import { openGraph } from './running-model.js'

/** What the ONNX backend can do. */
const SUPPORTS: HostSupports = {
  formats: FORMATS.map((f) => f.name),
  nativeStatistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'gram', 'cross-gram'],
  statistics: ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples'],
  transforms: ['scale', 'rotate', 'clip'],
  siteKinds: ['linear', 'conv', 'embedding', 'stored'],
  activations: true,
  capabilities: ['residual', 'operators', 'fingerprint', 'outputsUnder', 'plans'],
  settings: ONNX_SETTINGS,
  staticFormats: ['qdq', 'qoperator'],
  tolerance: { relative: 1e-4, reason: 'ONNX Runtime sums float32 products in an order of its own' },
}

/** An ONNX model on ONNX Runtime, opened by {@link openOnnx}. */
export class OnnxHost extends OnnxGraphHost {
  override readonly name: string = '@lowbit/backend-ort'
  override readonly version: string = VERSION
  override readonly supports: HostSupports = SUPPORTS
  override readonly capabilities: Required<HostCapabilities> = {
    ...this.graphCapabilities(),
    operators: { choose: (choice) => this.#chooseOperators(choice) },
    outputsUnder: {
      run: async (sets, batches, see, { signal } = {}) => {
        this.checkOpen()
        const { graph, records } = this.clone(this.graph)
        await outputsUnder({ open: (made, session) => this.openGraph(made, session), graph, sites: records, weights: this.assigned, activations: this.assignedActivations }, sets, batches, see, signal)
      },
    },
  }
  readonly #given: OrtModule | undefined
  readonly #session: SessionOptions
  readonly #sessions = new Map<WhichModel, Promise<Session>>()
  #operators: OperatorChoice = 'default'
  /** Of the tensors as they were when operators were chosen. */
  #types: ReadonlyMap<string, TensorRef> = new Map()
  #isClosed = false

  /** Use {@link openOnnx}. */
  constructor(source: ModelSource, graph: Graph, ort: OrtModule | undefined, session: SessionOptions, prepared: readonly string[] = []) {
    super(source, graph, prepared)
    this.#given = ort
    this.#session = session
  }

  async #chooseOperators(choice: OperatorChoice): Promise<void> {
    this.checkOpen()
    const unknown = typeof choice === 'string' ? undefined : choice.find((op) => !STATIC_OPERATORS.includes(op))
    if (unknown !== undefined) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: `operator '${unknown}'`, found: 'not one that static quantization can take', expected: STATIC_OPERATORS.join(', ') })
    }
    this.#operators = choice
    this.pointsChanged()
    if (choice !== 'default') this.#types = await tensorInfo(await findOrt(this.#given), this.graph, (probe, session) => this.openGraph(probe, session))
  }

  protected override async collect(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions): Promise<Statistics> {
    const original = options.model === 'original'
    const { graph, records } = original ? this.#cloneOriginal() : this.current()
    const before = original ? { graph, sites: records } : { graph: this.graph, sites: this.records }
    return observe({ ort: await findOrt(this.#given), graph, before, sites: records, open: (made, session) => this.openGraph(made, original || this.assignedActivations.size === 0 ? session : asWritten(session)) }, requests, data, options)
  }

  /** The session checks it against what the runtime takes. */
  protected override checkBatch(): void {}

  protected override async compute(batch: Batch, which: WhichModel): Promise<Batch> {
    let session = this.#sessions.get(which)
    if (session === undefined) {
      session = this.#open(which)
      this.#sessions.set(which, session)
      session.catch(() => this.#sessions.delete(which))
    }
    return (await session).run(batch)
  }

  /** Loads a graph that was made from {@link graphNow} into this host's runtime. The caller releases the session. */
  async openGraph(graph: Graph, session: SessionOptions = {}): Promise<Session> {
    return openGraph(await findOrt(this.#given), graph, this.source, { ...session, ...this.#session })
  }

  override async dispose(): Promise<void> {
    this.#isClosed = true
    await super.dispose()
  }

  protected override pointOptions(): PointOptions {
    return { operators: this.#operators, types: this.#types }
  }

  async #open(which: WhichModel): Promise<Session> {
    if (which === 'original') return this.openGraph(this.original)
    // With a target it is the artifact itself that runs: nothing is worked out twice.
    return !this.hasTarget() ? this.openGraph(this.graphNow(), this.assignedActivations.size > 0 ? asWritten() : {}) : this.openGraph(this.written())
  }

  #cloneOriginal(): { readonly graph: Graph; readonly records: readonly SiteRecord[] } {
    return { graph: this.original.clone(), records: findSites(this.original).records }
  }

  /** Sessions of the current model no longer fit it. */
  protected override changed(): void {
    super.changed()
    for (const [which, session] of this.#sessions) {
      if (which === 'original' && !this.#isClosed) continue
      this.#sessions.delete(which)
      session.then((s) => s.release()).catch(() => {})
    }
  }
}
