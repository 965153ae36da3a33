import {
  AbstractHost, dequantize, expectDType, INTEGER_CODES, isIntegerCode, StatisticAnswers, statisticObserver, throwIfAborted,
  type Acceptance, type ApplyResult, type Artifact, type Batch, type BatchSource, type EmitOptions, type FoldGroup, type HostSupports, type HostTensor,
  type ModelHost, type ObserveOptions, type Scheme, type Site, type StatisticName, type StatisticRequest, type Statistics, type TensorRef, type Transform, type WhichModel,
} from '@lowbit/core'
import { readMlp, runMlp, writeMlp, type Layer, type See } from './mlp.js'

const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'samples']

/** Opens a model file of the runtime as a host that every lowbit algorithm can work on. */
export function openMlp(bytes: Uint8Array): ModelHost {
  return new MlpHost(bytes)
}

class MlpHost extends AbstractHost {
  readonly name = 'example-mlp'
  readonly version = '1.0.0'
  readonly config = {}
  readonly supports: HostSupports = {
    formats: ['mlp-json'],
    nativeStatistics: [],
    statistics: STATISTICS,
    transforms: ['scale', 'clip'],
    siteKinds: ['linear'],
    activations: false,
    capabilities: [],
    tolerance: { relative: 1e-5, reason: 'sums in float32, in one order' },
  }
  readonly #original: readonly Layer[]
  readonly #size: number
  #layers: Layer[]

  constructor(bytes: Uint8Array) {
    super()
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

  override skipped(): readonly { readonly id: string; readonly reason: string }[] {
    return this.#original.flatMap(({ codes }, i) => (codes === undefined ? [] : [{ id: `layer${i}`, reason: 'already quantized' }]))
  }

  /** A positive scale passes through relu, so the layer before can take it. */
  foldGroups(): readonly FoldGroup[] {
    const ids = new Set(this.sites().map((s) => s.id))
    return this.#original.flatMap(({ columns }, i) =>
      i > 0 && ids.has(`layer${i}`) && ids.has(`layer${i - 1}`) ? [{ id: `h${i}`, sites: [`layer${i}`], input: { name: `h${i}` }, producer: 'linear' as const, channels: columns }] : [],
    )
  }

  size(): number {
    return this.#size
  }

  protected acceptsScheme(_: Site, { dtype, granularity }: Scheme): Acceptance {
    const fits = isIntegerCode(dtype) && INTEGER_CODES[dtype].bits <= 8 && granularity.kind !== 'token'
    return fits ? { ok: true } : { ok: false, reason: `the file holds integer codes of up to 8 bits, not ${dtype} per ${granularity.kind}` }
  }

  protected weightOf({ block }: Site): Float32Array<ArrayBuffer> {
    return this.#layers[block].weight.slice()
  }

  protected setWeight({ block }: Site, weight: Float32Array<ArrayBuffer>): void {
    this.#layers[block] = { ...this.#layers[block], weight }
  }

  protected shiftOutput({ block }: Site, delta: Float32Array): void {
    this.#layers[block] = { ...this.#layers[block], bias: this.#layers[block].bias.map((b, n) => b + delta[n]) }
  }

  protected transform(group: FoldGroup, transform: Exclude<Transform, { readonly kind: 'clip' }>): ApplyResult {
    if (transform.kind === 'rotate') return { how: 'refused', reason: 'relu does not commute with a rotation' }
    const { scales } = transform
    const at = this.site(group.sites[0]).block
    const before = this.#layers[at - 1]
    const after = this.#layers[at]
    this.#layers[at - 1] = { ...before, weight: before.weight.map((w, i) => w / scales[Math.floor(i / before.columns)]), bias: before.bias.map((b, n) => b / scales[n]) }
    this.#layers[at] = { ...after, weight: after.weight.map((w, i) => w * scales[i % after.columns]) }
    return { how: 'folded' }
  }

  protected async collect(requests: readonly StatisticRequest[], data: BatchSource, { signal, model = 'current' }: ObserveOptions): Promise<Statistics> {
    const observers = requests.map((request) => ({ request, layer: this.#layerOf(request), observer: statisticObserver(request.statistic, { kind: 'linear' }, request.options) }))
    for await (const batch of data) {
      throwIfAborted(signal, 'calibration')
      this.checkBatch(batch)
      this.#compute(batch, model, (layer, input) => {
        const x: HostTensor<'float32'> = { dtype: 'float32', shape: [input.length / this.#original[layer].columns, this.#original[layer].columns], data: input }
        for (const o of observers) if (o.layer === layer) o.observer.observe(x)
      })
    }
    const answers = new StatisticAnswers()
    for (const { request, observer } of observers) answers.set(request, observer.result())
    return answers
  }

  protected compute(batch: Batch, model: WhichModel): Batch {
    return { y: this.#compute(batch, model) }
  }

  protected write(format: string, options: EmitOptions): Artifact {
    const layers = this.#layers.map((layer, i) => ({ ...layer, ...this.#codesOf(i) }))
    const bytes = writeMlp(layers, { 'lowbit.recipe': options.provenance?.recipe ?? null })
    const save = async (path: string): Promise<void> => {
      const { rename, writeFile } = await import('node:fs/promises')
      await writeFile(`${path}.tmp`, bytes)
      await rename(`${path}.tmp`, path)
    }
    return { format, size: bytes.length, notes: [], bytes: () => bytes, save }
  }

  #compute(batch: Batch, model: WhichModel, see?: See): HostTensor<'float32'> {
    const x = expectDType(batch['x'], 'float32', 'x')
    const layers = model === 'original' ? this.#original : this.#layers.map((layer, i) => ({ ...layer, ...valuesOf(this.#codesOf(i).codes) }))
    return { dtype: 'float32', shape: [x.shape[0], this.#original[layers.length - 1].rows], data: runMlp(layers, x.data, x.shape[0], see) }
  }

  #codesOf(layer: number): Pick<Layer, 'codes'> {
    const codes = this.assigned.get(`layer${layer}`) ?? this.#layers[layer].codes
    return codes === undefined ? {} : { codes }
  }

  #layerOf({ target }: StatisticRequest): number {
    return this.site('site' in target ? target.site : target.tensor.replace(/^h/, 'layer')).block
  }
}

function valuesOf(codes: Layer['codes']): Partial<Pick<Layer, 'weight'>> {
  return codes === undefined ? {} : { weight: dequantize(codes).data }
}
