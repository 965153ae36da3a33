import {
  checkQTensor, dequantize, hasDType, INTEGER_CODES, isIntegerCode, LowbitError, statisticObserver, throwIfAborted,
  type Acceptance, type ApplyResult, type Artifact, type Batch, type BatchSource, type EmitOptions, type FoldGroup, type HostSupports, type HostTensor,
  type ModelHost, type ObserveOptions, type QTensor, type Scheme, type Site, type StatisticName, type StatisticRequest, type Statistics, type StatisticValues,
  type TensorRef, type Transform,
} from '@lowbit/core'
import { readMlp, runMlp, writeMlp, type Layer, type See } from './mlp.js'

const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'samples']

/** Opens a model file of the runtime as a host that every lowbit algorithm can work on. */
export function openMlp(bytes: Uint8Array): ModelHost {
  return new MlpHost(bytes)
}

class MlpHost implements ModelHost {
  readonly kind = 'host'
  readonly name = 'example-mlp'
  readonly version = '1.0.0'
  readonly apiVersion = 2
  readonly config = {}
  readonly supports: HostSupports = {
    formats: ['mlp-json'],
    nativeStatistics: [],
    statistics: STATISTICS,
    transforms: ['scale', 'clip'],
    siteKinds: ['linear'],
    activations: false,
    tolerance: { relative: 1e-5, reason: 'sums in float32, in one order' },
  }
  readonly #original: readonly Layer[]
  readonly #size: number
  #layers: Layer[]
  #disposed = false

  constructor(bytes: Uint8Array) {
    this.#original = readMlp(bytes)
    this.#layers = [...this.#original]
    this.#size = bytes.length
  }

  inputs(): readonly TensorRef[] {
    return [{ name: 'x', dtype: 'float32', shape: ['batch', this.#original[0].columns] }]
  }

  outputs(): readonly TensorRef[] {
    return [{ name: 'y', dtype: 'float32', shape: ['batch', this.#original[this.#original.length - 1].rows] }]
  }

  sites(): readonly Site[] {
    return this.#original.flatMap(({ rows, columns, codes }, i): Site[] => {
      if (codes !== undefined) return []
      const weight = { name: `layer${i}.weight`, dtype: 'float32', rows, columns, shape: [rows, columns], groups: 1, columnsPerChannel: 1 } as const
      return [{ id: `layer${i}`, kind: 'linear', op: 'Linear', weight, input: { name: `h${i}` }, output: { name: `h${i + 1}` }, block: i }]
    })
  }

  skipped(): readonly { readonly id: string; readonly reason: string }[] {
    return this.#original.flatMap(({ codes }, i) => (codes === undefined ? [] : [{ id: `layer${i}`, reason: 'already quantized' }]))
  }

  /** A positive scale passes through relu, so the layer before can take it. */
  foldGroups(): readonly FoldGroup[] {
    const ids = new Set(this.sites().map((s) => s.id))
    return this.#original.flatMap(({ columns }, i) =>
      i > 0 && ids.has(`layer${i}`) && ids.has(`layer${i - 1}`) ? [{ id: `h${i}`, sites: [`layer${i}`], input: { name: `h${i}` }, producer: 'linear' as const, channels: columns }] : [],
    )
  }

  activations(): readonly [] {
    return []
  }

  size(): number {
    return this.#size
  }

  accepts(site: string, { dtype, granularity }: Scheme): Acceptance {
    this.#index(site)
    const fits = isIntegerCode(dtype) && INTEGER_CODES[dtype].bits <= 8 && granularity.kind !== 'token'
    return fits ? { ok: true } : { ok: false, reason: `the file holds integer codes of up to 8 bits, not ${dtype} per ${granularity.kind}` }
  }

  async readWeight(site: string): Promise<HostTensor<'float32'>> {
    const { rows, columns, weight } = this.#layers[this.#index(site)]
    return { dtype: 'float32', shape: [rows, columns], data: weight.slice() }
  }

  async writeWeight(site: string, weight: HostTensor<'float32'>): Promise<void> {
    const i = this.#index(site)
    if (weight.data.length !== this.#layers[i].weight.length) throw new LowbitError('LOWBIT_SHAPE', { thing: site, found: `[${weight.shape.join(', ')}]`, expected: `[${this.#layers[i].rows}, ${this.#layers[i].columns}]` })
    this.#layers[i] = { ...this.#layers[i], weight: weight.data.slice() }
  }

  async addBias(site: string, delta: Float32Array): Promise<void> {
    const i = this.#index(site)
    if (delta.length !== this.#layers[i].rows) throw new LowbitError('LOWBIT_SHAPE', { thing: `bias of ${site}`, found: `${delta.length} values`, expected: `${this.#layers[i].rows}` })
    this.#layers[i] = { ...this.#layers[i], bias: this.#layers[i].bias.map((b, n) => b + delta[n]) }
  }

  async apply(group: string, transform: Transform): Promise<ApplyResult> {
    if (transform.kind === 'rotate') return { how: 'refused', reason: 'relu does not commute with a rotation' }
    if (transform.kind === 'clip') {
      await this.writeWeight(transform.site, transform.weight)
      return { how: 'folded' }
    }
    const fold = this.foldGroups().find((g) => g.id === group)
    if (fold === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'fold group', found: group, expected: this.foldGroups().map((g) => g.id).join(', ') })
    const { scales } = transform
    if (scales.length !== fold.channels || scales.some((s) => !(s > 0))) throw new LowbitError('LOWBIT_SHAPE', { thing: group, found: `${scales.length} scales`, expected: `${fold.channels} positive ones` })
    const at = this.#index(fold.sites[0])
    const before = this.#layers[at - 1]
    const after = this.#layers[at]
    this.#layers[at - 1] = { ...before, weight: before.weight.map((w, i) => w / scales[Math.floor(i / before.columns)]), bias: before.bias.map((b, n) => b / scales[n]) }
    this.#layers[at] = { ...after, weight: after.weight.map((w, i) => w * scales[i % after.columns]) }
    return { how: 'folded' }
  }

  async observe(requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions = {}): Promise<Statistics> {
    const keyOf = (r: StatisticRequest): string => JSON.stringify([r.statistic, r.target, r.options])
    const observers = requests.map((request) => ({ request, layer: this.#targetOf(request), observer: statisticObserver(request.statistic, { kind: 'linear' }, request.options) }))
    for await (const batch of data) {
      throwIfAborted(options.signal, 'calibration')
      this.#compute(batch, options.model ?? 'current', (layer, input) => {
        const x: HostTensor<'float32'> = { dtype: 'float32', shape: [input.length / this.#original[layer].columns, this.#original[layer].columns], data: input }
        for (const o of observers) if (o.layer === layer) o.observer.observe(x)
      })
    }
    throwIfAborted(options.signal, 'calibration')
    const answers = new Map(observers.map(({ request, observer }) => [keyOf(request), observer.result()]))
    return { get: <S extends StatisticName>(request: StatisticRequest<S>) => answers.get(keyOf(request)) as StatisticValues[S] | undefined }
  }

  assign(site: string, q: QTensor | null): void {
    const i = this.#index(site)
    const { rows, columns, weight, bias } = this.#layers[i]
    if (q !== null) checkQTensor(q, site)
    this.#layers[i] = { rows, columns, weight, bias, ...(q === null ? {} : { codes: q }) }
  }

  assignActivation(point: string): void {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: point, found: 'a static activation', expected: 'weights only' })
  }

  async run(batch: Batch, options: { readonly model?: 'current' | 'original' } = {}): Promise<Batch> {
    return { y: this.#compute(batch, options.model ?? 'current') }
  }

  async emit(format: string, options: EmitOptions = {}): Promise<Artifact> {
    if (format !== 'mlp-json') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'format', found: format, expected: 'mlp-json' })
    const bytes = writeMlp(this.#layers, { 'lowbit.recipe': options.provenance?.recipe ?? null })
    const save = async (path: string): Promise<void> => {
      const { rename, writeFile } = await import('node:fs/promises')
      await writeFile(`${path}.tmp`, bytes)
      await rename(`${path}.tmp`, path)
    }
    return { format, size: bytes.length, notes: [], bytes: () => bytes, save }
  }

  async dispose(): Promise<void> {
    this.#disposed = true
  }

  #compute(batch: Batch, model: 'current' | 'original', see?: See): HostTensor<'float32'> {
    if (this.#disposed) throw new LowbitError('LOWBIT_DISPOSED', { thing: this.name, found: 'a disposed host' })
    const x = batch['x']
    const width = this.#original[0].columns
    if (x === undefined || !hasDType(x, 'float32') || x.shape[1] !== width) throw new LowbitError('LOWBIT_DATA', { thing: 'batch', found: x === undefined ? "no 'x'" : `x ${x.dtype} [${x.shape.join(', ')}]`, expected: `x float32 [batch, ${width}]` })
    const layers = model === 'original' ? this.#original : this.#layers.map((l) => (l.codes === undefined ? l : { ...l, weight: dequantize(l.codes).data }))
    return { dtype: 'float32', shape: [x.shape[0], this.#original[layers.length - 1].rows], data: runMlp(layers, x.data, x.shape[0], see) }
  }

  #targetOf({ target }: StatisticRequest): number {
    return this.#index('site' in target ? target.site : target.tensor.replace(/^h/, 'layer'))
  }

  #index(site: string): number {
    const found = this.sites().find((s) => s.id === site)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'site', found: site, expected: this.sites().map((s) => s.id).join(', ') })
    return found.block
  }
}
