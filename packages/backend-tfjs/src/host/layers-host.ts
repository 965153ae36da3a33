import {
  AbstractHost, breathe, codeRange, DEFAULT_MAX_MEMORY, dequantize, elementCount, isLowbitError, LowbitError, passesByMemory, requireMemory, resolveOptions, statisticCost, StatisticAnswers, tensor, throwIfAborted,
  type Acceptance, type ActivationParams, type ActivationPoint, type ApplyResult, type Artifact, type Batch, type BatchSource, type DeclarationsOf, type EmitOptions, type FoldGroup, type HostSupports,
  type HostTensor, type Json, type ModelHost, type ObserveOptions, type PlansCapability, type QTensor, type Scheme, type Site, type StatisticCost, type StatisticName, type StatisticRequest, type Statistics, type TensorRef, type Transform, type WhichModel,
} from '@lowbit/core'
import { normsAfterSites } from '../layers/batch-norm.js'
import { findSites } from '../layers/find-sites.js'
import type { SkippedLayer } from '../layers/layer-site.js'
import { layerVariable } from '../layers/layer-variable.js'
import type { Layer, LayersModel, Tensor, TfCore } from '../tf.js'
import { PACKAGE, VERSION } from '../version.js'
import { accumulator, type Accumulator } from './accumulator.js'
import { activationPoints, inputName } from './activation-points.js'
import { inputTensors, modelInputs, modelOutputs } from './batches.js'
import { floatGraph, type FloatGraph } from '../onnx/float-graph.js'
import { describeSite } from './describe-site.js'
import type { PlanContext, PlannedModel } from './emit/layers-format.js'
import { checkSettings, expectLayersFormat, FORMATS, LAYERS_SETTINGS } from './emit/formats.js'
import { neutralPlan } from './emit/neutral.js'
import { findFolds, type Fold } from './fold-groups.js'
import { forward, type Overlay, type Tap } from './forward.js'
import { siteState, type SiteState, type StaticRule } from './site-state.js'

export interface OpenLayersOptions {
  /** Folds every BatchNormalization into the layer before it, so that what is quantized is what is deployed. Default true. */
  readonly foldBatchNorm?: boolean
  /** Wraps every run of the model: how a prepared model is run in float. */
  readonly during?: <R>(run: () => R) => R
}

/** What {@link openLayersModel} takes. */
export const OPEN_LAYERS_OPTIONS = {
  foldBatchNorm: { type: 'boolean', default: true, about: 'fold every BatchNormalization into the layer before it' },
  during: { type: 'function', about: 'wraps every run of the model' },
} as const satisfies DeclarationsOf<OpenLayersOptions>

/** A tf.LayersModel opened for quantization. Beside the contract: activations of fewer than 8 bits, as training leaves them. */
export interface LayersHost extends ModelHost {
  /** As `assignActivation`, for any integer code type. */
  assignRule(point: string, rule: StaticRule | null): void
}

/**
 * Opens a tf.LayersModel (Sequential or functional). The model is read and run, never changed: decisions are laid over it while it runs.
 * @throws LOWBIT_ARGUMENT naming the option, LOWBIT_UNSUPPORTED for a model without any site.
 */
export async function openLayersModel(tf: TfCore, model: LayersModel, options: OpenLayersOptions = {}): Promise<LayersHost> {
  return new TfjsHost(tf, model, options)
}

/**
 * Finds out before a training whether its result can be written.
 * @param format one of the backend's formats; absent: any of them will do
 * @param schemes what the weights will have, by site
 * @throws LOWBIT_UNSUPPORTED naming the layer, and with no format given what each of them lacks
 */
export function expectExportable(tf: TfCore, model: LayersModel, format: string | undefined, schemes: ReadonlyMap<string, Scheme>, options: OpenLayersOptions = {}): void {
  const host = new TfjsHost(tf, model, options)
  if (format !== undefined) return host.expectFormat(format, schemes)
  const refusals: string[] = []
  for (const { format: each } of FORMATS) {
    try {
      return host.expectFormat(each, schemes)
    } catch (error) {
      if (!isLowbitError(error, 'LOWBIT_UNSUPPORTED')) throw error
      refusals.push(`${each}: ${error.parts.thing} (${error.parts.found})`)
    }
  }
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `model '${model.name}'`, found: `no format that takes it once it is trained: ${refusals.join('; ')}`, fix: 'change the layers, or pass { format: false } to prepare if it will never be written' })
}

const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples']

class TfjsHost extends AbstractHost implements LayersHost {
  readonly name = PACKAGE
  readonly version = VERSION
  readonly config: { readonly foldBatchNorm: boolean }
  readonly supports: HostSupports
  readonly #tf: TfCore
  readonly #during: <R>(run: () => R) => R
  readonly #model: LayersModel
  readonly #sites: readonly SiteState[]
  readonly #skipped: readonly SkippedLayer[]
  readonly #folds: readonly Fold[]
  readonly #norms = new Map<Layer, { readonly gamma: Float32Array; readonly beta?: Float32Array }>()
  readonly #inserted = new Map<string, Float32Array>()
  /** Of fewer bits than `assignActivation` takes. */
  readonly #rules = new Map<string, StaticRule>()
  override readonly capabilities: { readonly plans: PlansCapability } = {
    plans: { target: (format, settings) => this.#aimAt(format, settings), plan: () => this.#plannedModel()?.plan ?? neutralPlan(this.#sites, this.#allRules()) },
  }
  #target: { readonly format: string; readonly settings: Readonly<Record<string, Json>> } | undefined
  #planned: PlannedModel | undefined
  #graph: FloatGraph | undefined

  constructor(tf: TfCore, model: LayersModel, options: OpenLayersOptions) {
    super()
    this.#tf = tf
    this.#model = model
    const { during, foldBatchNorm } = resolveOptions<OpenLayersOptions, typeof OPEN_LAYERS_OPTIONS>(OPEN_LAYERS_OPTIONS, options, 'openLayersModel')
    this.#during = during ?? ((run) => run())
    this.config = { foldBatchNorm }
    const { sites, skipped } = findSites(model)
    if (sites.length === 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `model '${model.name}'`, found: 'no layer that can be quantized', expected: 'Dense, Conv1D, Conv2D, DepthwiseConv2D, SeparableConv2D, Conv2DTranspose or Embedding' })
    const norms = this.config.foldBatchNorm ? normsAfterSites(model, sites) : new Map()
    this.#sites = sites.map((at) => siteState(tf, at, norms.get(at.id), inputName(at)))
    this.#skipped = skipped
    this.#folds = findFolds(model, this.#sites, new Set([...norms.values()].map((n) => n.layer)))
    this.supports = {
      formats: FORMATS.map((e) => e.format),
      nativeStatistics: STATISTICS,
      statistics: STATISTICS,
      transforms: ['scale', 'clip'],
      siteKinds: ['linear', 'conv', 'embedding'],
      activations: true,
      capabilities: ['plans'],
      settings: LAYERS_SETTINGS,
      staticFormats: ['dequantize', 'matmul-nbits'],
      tolerance: { relative: 1e-4, reason: 'BatchNorm folding and another order of float32 sums' },
    }
  }

  inputs(): readonly TensorRef[] {
    return modelInputs(this.#model)
  }

  outputs(): readonly TensorRef[] {
    return modelOutputs(this.#model)
  }

  sites(): readonly Site[] {
    return this.#sites.map(describeSite)
  }

  override skipped(): readonly SkippedLayer[] {
    return this.#skipped
  }

  foldGroups(): readonly FoldGroup[] {
    // Said before anything is planned for them: a file of layers has no place for a scale that nothing takes.
    const refused = this.#target?.format === 'layers' ? { scale: 'nothing before it takes a scale, and the layers format has no place for one' } : undefined
    return this.#folds.map(({ group }) => (refused === undefined || group.producer !== 'none' ? group : { ...group, refused }))
  }

  override activations(): readonly ActivationPoint[] {
    return activationPoints(this.#sites)
  }

  size(): number {
    return this.#model.weights.reduce((sum, w) => sum + 4 * elementCount(w.shape.map((s) => s ?? 1)), 0)
  }

  override assign(id: string, q: QTensor | null): void {
    super.assign(id, q)
    const site = this.#state(id)
    if (q === null) delete site.q
    else site.q = { tensor: q, values: dequantize(q).data }
  }

  override assignActivation(point: string, params: ActivationParams | null): void {
    super.assignActivation(point, params)
    this.#rules.delete(point)
  }

  assignRule(point: string, rule: StaticRule | null): void {
    this.assignActivation(point, null)
    if (rule !== null) this.#rules.set(point, rule)
    this.changed()
  }

  expectFormat(format: string, schemes: ReadonlyMap<string, Scheme>): void {
    const found = expectLayersFormat(format)
    for (const [id, scheme] of schemes) {
      const answer = found.accepts(this.#state(id), scheme)
      // What a format does not take stays in float there, or in another form: only a weight that nothing can say is an error.
      if (!answer.ok && format !== 'matmul-nbits') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `weight of '${id}'`, found: answer.reason, fix: 'train it under another scheme, or choose another format' })
    }
    found.plan(this.#context(), {})
  }

  protected acceptsScheme(site: Site, scheme: Scheme, format: string): Acceptance {
    return expectLayersFormat(format).accepts(this.#state(site.id), scheme)
  }

  protected weightOf(site: Site): Float32Array<ArrayBuffer> {
    return Float32Array.from(this.#state(site.id).weight)
  }

  protected setWeight(site: Site, weight: Float32Array): void {
    this.#state(site.id).weight.set(weight)
    this.#reshaped()
  }

  protected shiftOutput(site: Site, delta: Float32Array): void {
    const state = this.#state(site.id)
    state.bias = Float32Array.from(delta, (d, i) => d + (state.bias?.[i] ?? 0))
    this.#reshaped()
  }

  protected transform(group: FoldGroup, transform: Exclude<Transform, { readonly kind: 'clip' }>): ApplyResult {
    const fold = this.#folds.find((f) => f.group.id === group.id)
    if (fold === undefined || transform.kind === 'rotate') return { how: 'refused', reason: 'tfjs layers have no place for a rotation' }
    if (group.refused?.scale !== undefined) return { how: 'refused', reason: group.refused.scale }
    this.#reshaped()
    return this.#scale(fold, transform.scales)
  }

  protected async collect(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions): Promise<Statistics> {
    const points = new Set(this.activations().map((p) => p.id))
    const wanted = requests.map((request) => {
      const { target } = request
      if ('tensor' in target && !points.has(target.tensor)) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'activation', found: target.tensor, expected: [...points].join(', ') })
      const site = 'site' in target ? this.#state(target.site) : this.#sites.find((s) => s.input === target.tensor)
      return { request, site }
    })
    const costOf = ({ request, site }: (typeof wanted)[number]): StatisticCost => statisticCost(request.statistic, { columns: site?.at.columns ?? 1, groups: site?.at.groups ?? 1, ...(Array.isArray(data) ? { batches: data.length } : {}) }, request.options)
    if (options.maxMemory !== undefined) for (const w of wanted) requireMemory(w.request.statistic, costOf(w), options.maxMemory, 'site' in w.request.target ? `site '${w.request.target.site}'` : `activation '${w.request.target.tensor}'`)
    const answers = new StatisticAnswers()
    for (const pass of passesByMemory(wanted, costOf, options.maxMemory ?? DEFAULT_MAX_MEMORY)) {
      const collected = pass.map((w) => ({ ...w, collect: accumulator(this.#tf, w.request, 'site' in w.request.target ? w.site?.at : undefined) }))
      await this.#pass(collected, data, options)
      for (const { request, collect } of collected) answers.set(request, collect.value())
    }
    return answers
  }

  /** One pass over the data. */
  async #pass(wanted: readonly { readonly request: StatisticRequest; readonly site: SiteState | undefined; readonly collect: Accumulator }[], data: BatchSource, options: ObserveOptions): Promise<void> {
    const cross = wanted.some(({ request }) => request.statistic === 'cross-gram')
    const model = options.model ?? 'current'
    let done = 0
    for await (const batch of data) {
      throwIfAborted(options.signal, 'calibration')
      this.#tf.tidy(() => {
        const originals = new Map<SiteState, Tensor[]>()
        if (cross && model === 'current') this.#forward(batch, 'undecided', (site, x) => void originals.set(site, [...(originals.get(site) ?? []), this.#tf.keep(this.#tf.clone(x))]))
        this.#forward(batch, model, (site, x) => {
          const other = model === 'original' ? x : originals.get(site)?.shift()
          for (const w of wanted) if (w.site === site) this.#tf.tidy(() => inSample(done, () => w.collect.add(x, other)))
          // A run takes its tensors with it when it ends: those of the other model were kept for this one.
          if (other !== x) other?.dispose()
        })
      })
      done++
      options.onProgress?.({ phase: 'calibrate', done, total: done })
      await breathe(options.signal, 'calibration')
    }
    throwIfAborted(options.signal, 'calibration')
  }

  /** Converts what it is given: the model's inputs are checked while that is done. */
  protected override checkBatch(): void {}

  protected async compute(batch: Batch, model: WhichModel): Promise<Batch> {
    const tensors = this.#tf.tidy(() => this.#forward(batch, model))
    const out: Record<string, HostTensor> = {}
    for (const [i, t] of tensors.entries()) {
      out[this.outputs()[i].name] = t.dtype === 'int32' ? { dtype: 'int32', shape: t.shape, data: Int32Array.from(await t.data()) } : tensor('float32', t.shape, Float32Array.from(await t.data()))
      t.dispose()
    }
    return out
  }

  protected write(format: string, options: EmitOptions): Artifact | Promise<Artifact> {
    checkSettings(format, options.settings ?? {})
    return expectLayersFormat(format).plan(this.#context(), options.settings ?? {}).write(options)
  }

  /** Sites that nothing reads but lookups have no activation. */
  protected override canQuantize(point: string): boolean {
    return this.#sites.some((s) => s.input === point && s.at.weight.form !== 'embedding')
  }

  #aimAt(format: string | null, settings: Readonly<Record<string, Json>> = {}): void {
    this.checkOpen()
    if (format !== null) {
      expectLayersFormat(format)
      checkSettings(format, settings)
    }
    this.#target = format === null ? undefined : { format, settings }
    this.changed()
  }

  /** The model as the target stores it; without one, every decision for its value. */
  #plannedModel(): PlannedModel | undefined {
    this.checkOpen()
    const target = this.#target
    if (target === undefined) return undefined
    return (this.#planned ??= expectLayersFormat(target.format).plan(this.#context(), target.settings))
  }

  protected override changed(): void {
    this.#planned = undefined
  }

  /** More than decisions changed. */
  #reshaped(): void {
    this.#graph = undefined
    this.changed()
  }

  #context(): PlanContext {
    const model = { tf: this.#tf, model: this.#model, sites: this.#sites, norms: this.#norms, inserted: this.#inserted }
    return { ...model, activations: this.#allRules(), graph: () => (this.#graph ??= floatGraph(model)) }
  }

  #allRules(): ReadonlyMap<string, StaticRule> {
    const rules = new Map(this.#rules)
    for (const [point, params] of this.assignedActivations) rules.set(point, { kind: 'static', ...params })
    return rules
  }

  #overlay(): Overlay {
    const { weights, activations } = this.#plannedModel() ?? {
      weights: new Map(this.#sites.flatMap(({ at, q }) => (q === undefined ? [] : [[at.id, q.values] as const]))),
      activations: new Map([...this.#allRules()].map(([point, { dtype, scale, zeroPoint }]) => [point, { scale, zeroPoint, ...codeRange(dtype) }])),
    }
    return { sites: this.#sites, norms: this.#norms, inserted: this.#inserted, weights, activations }
  }

  #forward(batch: Batch, model: 'current' | 'undecided' | 'original', tap?: Tap): Tensor[] {
    const inputs = inputTensors(this.#tf, this.#model, batch)
    const overlay = model === 'current' ? this.#overlay() : model === 'original' ? null : { sites: this.#sites, norms: this.#norms, inserted: this.#inserted, weights: new Map(), activations: new Map() }
    return this.#during(() => forward(this.#tf, this.#model, inputs, overlay, this.#sites, tap))
  }

  #scale(fold: Fold, scales: Float32Array): ApplyResult {
    const producer = fold.linear === undefined ? undefined : this.#state(fold.linear)
    for (const id of fold.group.sites) {
      const { at, weight } = this.#state(id)
      const perGroup = at.columns / at.columnsPerChannel
      for (let i = 0; i < weight.length; i++) {
        const group = Math.floor(Math.floor(i / at.columns) / (at.rows / at.groups))
        weight[i] *= scales[group * perGroup + Math.floor((i % at.columns) / at.columnsPerChannel)]
      }
    }
    if (producer !== undefined) {
      producer.weight.forEach((w, i) => (producer.weight[i] = w / scales[Math.floor(i / producer.at.columns)]))
      producer.bias?.forEach((b, i, bias) => (bias[i] = b / scales[i]))
      return { how: 'folded' }
    }
    if (fold.norm !== undefined) {
      const own = this.#norms.get(fold.norm) ?? normValues(fold.norm)
      this.#norms.set(fold.norm, { gamma: own.gamma.map((g, i) => g / scales[i]), ...(own.beta === undefined ? {} : { beta: own.beta.map((b, i) => b / scales[i]) }) })
      return { how: 'folded' }
    }
    const before = this.#inserted.get(fold.group.id)
    this.#inserted.set(fold.group.id, scales.map((s, i) => s * (before?.[i] ?? 1)))
    return { how: 'inserted', ...(fold.group.reason === undefined ? {} : { reason: fold.group.reason }) }
  }

  #state(id: string): SiteState {
    this.site(id)
    const found = this.#sites.find((s) => s.at.id === id)
    if (found === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `site '${id}'`, found: 'no state' })
    return found
  }
}

function normValues(layer: Layer): { readonly gamma: Float32Array; readonly beta?: Float32Array } {
  const read = (name: string): Float32Array | undefined => {
    const variable = layerVariable(layer, name)
    return variable === undefined ? undefined : Float32Array.from(variable.read().dataSync<'float32'>())
  }
  const beta = read('beta')
  return { gamma: read('gamma') ?? new Float32Array(), ...(beta === undefined ? {} : { beta }) }
}

/** Names the sample where an activation is not finite. */
function inSample(sample: number, add: () => void): void {
  try {
    add()
  } catch (error) {
    if (!isLowbitError(error, 'LOWBIT_NONFINITE')) throw error
    throw new LowbitError(error.code, { ...error.parts, thing: `${error.parts.thing} in sample ${sample}`, cause: error })
  }
}
