import type { HostCapabilities } from '../contract/v2/capabilities.js'
import type { Acceptance, ActivationParams, ActivationPoint, ApplyResult, Artifact, Batch, BatchSource, EmitOptions, FoldGroup, HostSupports, ModelHost, ObserveOptions, Site, TensorRef, Transform } from '../contract/v2/host.js'
import type { Json } from '../contract/v2/plugin.js'
import type { StatisticRequest, Statistics } from '../contract/v2/statistics.js'
import { LowbitError, throwIfAborted } from '../errors.js'
import { repeatable } from '../pipeline/batches.js'
import { DEFAULT_MAX_MEMORY } from '../pipeline/default-memory.js'
import { checkQTensor, type QTensor } from '../qtensor.js'
import { INTEGER_CODES, type Scheme } from '../scheme.js'
import { tensor, type HostTensor } from '../tensor.js'
import { checkBatch } from './check-batch.js'
import { checkTransform } from './check-transform.js'

/** Which model computes: as it now stands, or as opened. */
export type WhichModel = 'current' | 'original'

/**
 * What every host has to look up, check and refuse, written once. A backend extends it and says how its own model is read, changed
 * and run: protected methods are called with sites and groups that exist, shapes that fit and a model that is open.
 *
 * The sites of a model do not change while it is open.
 */
export abstract class AbstractHost implements ModelHost {
  readonly kind = 'host'
  readonly apiVersion = 2
  abstract readonly name: string
  abstract readonly version: string
  abstract readonly config: Json
  abstract readonly supports: HostSupports
  readonly capabilities: HostCapabilities = {}
  readonly #assigned = new Map<string, QTensor>()
  readonly #activations = new Map<string, ActivationParams>()
  #byId: ReadonlyMap<string, Site> | undefined
  #disposed = false

  abstract inputs(): readonly TensorRef[]
  abstract outputs(): readonly TensorRef[]
  abstract sites(): readonly Site[]
  abstract foldGroups(): readonly FoldGroup[]
  abstract size(): number

  /** None; a backend that leaves something out says so. */
  skipped(): readonly { readonly id: string; readonly reason: string }[] {
    return []
  }

  activations(): readonly ActivationPoint[] {
    return []
  }

  /** None; a backend that finds codes of a training behind float weights says how many bytes they save. */
  saved(): number {
    return 0
  }

  accepts(site: string, scheme: Scheme, format: string): Acceptance {
    this.#expectFormat(format)
    for (const tied of this.tiedTo(this.site(site))) {
      const answer = this.acceptsScheme(tied, scheme, format)
      if (!answer.ok) return answer
    }
    return { ok: true }
  }

  async readWeight(site: string): Promise<HostTensor<'float32'>> {
    const found = this.site(site)
    return tensor('float32', [found.weight.rows, found.weight.columns], await this.weightOf(found))
  }

  async writeWeight(site: string, weight: HostTensor<'float32'>): Promise<void> {
    const found = this.site(site)
    expectMatrix(weight.shape, found, `weight for site '${site}'`)
    tensor('float32', weight.shape, weight.data, `weight for site '${site}'`)
    await this.setWeight(found, weight.data.slice())
    this.changed()
  }

  async addBias(site: string, delta: Float32Array): Promise<void> {
    const found = this.site(site)
    if (found.kind !== 'linear' && found.kind !== 'conv') throw new LowbitError('LOWBIT_SHAPE', { thing: `bias of ${site}`, found: `${delta.length} values`, expected: `none: a site of kind ${found.kind} has no bias` })
    if (delta.length !== found.weight.rows) throw new LowbitError('LOWBIT_SHAPE', { thing: `bias of ${site}`, found: `${delta.length} values`, expected: `${found.weight.rows}` })
    await this.shiftOutput(found, delta)
    this.changed()
  }

  async apply(group: string, transform: Transform): Promise<ApplyResult> {
    this.checkOpen()
    const found = this.group(group)
    if (found === undefined) throw this.unknown('fold group', group, this.foldGroups().map((g) => g.id), 'foldGroups()')
    if (!this.supports.transforms.includes(transform.kind)) return { how: 'refused', reason: `${this.name} has no place for a '${transform.kind}'` }
    if (transform.kind === 'clip') {
      await this.writeWeight(transform.site, transform.weight)
      return { how: 'folded' }
    }
    checkTransform(transform, found.channels, `fold group '${group}'`)
    const result = await this.transform(found, transform)
    this.changed()
    return result
  }

  async observe(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions = {}): Promise<Statistics> {
    this.checkOpen()
    for (const { statistic, target } of requests) {
      if (!this.supports.statistics.includes(statistic)) throw this.unsupportedStatistic(statistic)
      if ('site' in target) this.site(target.site)
    }
    throwIfAborted(options.signal, 'calibration')
    // Several passes may be taken: what can be read once only is taken whole, or refused.
    return this.collect(requests, requests.length === 0 ? data : await repeatable(data, options.maxMemory ?? DEFAULT_MAX_MEMORY), options)
  }

  assign(site: string, q: QTensor | null): void {
    const found = this.site(site)
    const owner = ownerOf(found)
    if (q === null) this.#assigned.delete(owner)
    else {
      checkQTensor(q, `codes for site '${site}'`)
      expectMatrix(q.shape, found, `codes for site '${site}'`)
      this.#assigned.set(owner, q)
    }
    this.changed()
  }

  assignActivation(point: string, params: ActivationParams | null): void {
    this.checkOpen()
    if (!this.canQuantize(point)) throw this.unknown('activation', point, this.activations().map((p) => p.id), 'activations()')
    if (params === null) this.#activations.delete(point)
    else {
      checkParams(params, point)
      this.#activations.set(point, params)
    }
    this.changed()
  }

  async run(batch: Batch, options: { readonly model?: WhichModel } = {}): Promise<Batch> {
    this.checkOpen()
    this.checkBatch(batch)
    return this.compute(batch, options.model ?? 'current')
  }

  async emit(format: string, options: EmitOptions = {}): Promise<Artifact> {
    this.checkOpen()
    this.#expectFormat(format)
    throwIfAborted(options.signal, `writing ${format}`)
    return this.write(format, options)
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    await this.close()
  }

  /** Whether one site's weight can have these codes in a format. */
  protected abstract acceptsScheme(site: Site, scheme: Scheme, format: string): Acceptance
  /** A copy of a weight, `[N, K]`. */
  protected abstract weightOf(site: Site): Promise<Float32Array<ArrayBuffer>> | Float32Array<ArrayBuffer>
  /** Replaces a weight, wherever it is used: `tiedTo` tells the sites. @param weight - `[N, K]`, the host's own */
  protected abstract setWeight(site: Site, weight: Float32Array<ArrayBuffer>): Promise<void> | void
  /** Adds `[N]` to a site's output. */
  protected abstract shiftOutput(site: Site, delta: Float32Array): Promise<void> | void
  protected abstract transform(group: FoldGroup, transform: Exclude<Transform, { readonly kind: 'clip' }>): Promise<ApplyResult> | ApplyResult
  protected abstract collect(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions): Promise<Statistics>
  protected abstract compute(batch: Batch, model: WhichModel): Promise<Batch> | Batch
  protected abstract write(format: string, options: EmitOptions): Promise<Artifact> | Artifact

  /** Told after anything changed: what was made from the model as it stood no longer fits. */
  protected changed(): void {}

  /** Called once. */
  protected close(): Promise<void> | void {}

  /** What to say of a statistic that `supports` leaves out. */
  protected unsupportedStatistic(name: string): LowbitError {
    return new LowbitError('LOWBIT_UNSUPPORTED', { thing: `statistic '${name}'`, found: `${this.name} does not take it`, expected: this.supports.statistics.join(', ') })
  }

  protected group(id: string): FoldGroup | undefined {
    return this.foldGroups().find((g) => g.id === id)
  }

  /** Whether a decision about a tensor can be carried out; by default, about the points of `activations()`. */
  protected canQuantize(point: string): boolean {
    return this.activations().some((p) => p.id === point)
  }

  protected checkBatch(batch: Batch): void {
    checkBatch(this.inputs(), batch)
  }

  /** What was decided, by the site that owns the weight. */
  protected get assigned(): ReadonlyMap<string, QTensor> {
    return this.#assigned
  }

  protected get assignedActivations(): ReadonlyMap<string, ActivationParams> {
    return this.#activations
  }

  /** @throws LOWBIT_DISPOSED, LOWBIT_NOT_FOUND */
  protected site(id: string): Site {
    this.checkOpen()
    this.#byId ??= new Map(this.sites().map((s) => [s.id, s]))
    const found = this.#byId.get(id)
    if (found === undefined) throw this.unknown('site', id, [...this.#byId.keys()], 'sites()')
    return found
  }

  /** The site that owns a weight, and all that share it. */
  protected tiedTo(site: Site): readonly Site[] {
    const owner = ownerOf(site)
    return this.sites().filter((s) => ownerOf(s) === owner)
  }

  /** @throws LOWBIT_DISPOSED */
  protected checkOpen(): void {
    if (this.#disposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: `a model of ${this.name}`, found: 'a call after dispose()', fix: 'open it again' })
  }

  #expectFormat(format: string): void {
    if (!this.supports.formats.includes(format)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format '${format}'`, found: `${this.name} does not write it`, expected: this.supports.formats.join(', ') })
  }

  /** What to say of a name that the model does not have. */
  protected unknown(what: string, id: string, known: readonly string[], list: string): LowbitError {
    return new LowbitError('LOWBIT_NOT_FOUND', { thing: `${what} '${id}'`, found: 'the model has none of this name', expected: `${known.slice(0, 8).map((name) => `'${name}'`).join(', ')}${known.length > 8 ? `, … (${known.length})` : ''}`, fix: `list them with ${list}` })
  }
}

/** The site whose weight this one uses. */
export function ownerOf({ id, tiedTo }: Site): string {
  return tiedTo ?? id
}

function expectMatrix(shape: readonly number[], { weight }: Site, thing: string): void {
  if (shape.length !== 2 || shape[0] !== weight.rows || shape[1] !== weight.columns) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `[${shape.join(', ')}]`, expected: `[${weight.rows}, ${weight.columns}]` })
}

function checkParams({ dtype, scale, zeroPoint }: ActivationParams, point: string): void {
  const { min, max } = INTEGER_CODES[dtype]
  if (!(scale > 0 && Number.isFinite(scale))) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `scale of activation '${point}'`, found: String(scale), expected: 'a positive, finite number' })
  if (!Number.isInteger(zeroPoint) || zeroPoint < min || zeroPoint > max) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `zero point of activation '${point}'`, found: String(zeroPoint), expected: `a whole number, ${min} to ${max} for ${dtype}` })
}
