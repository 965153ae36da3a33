import { isLowbitError, LowbitError, roundHalfEven, type ActivationRule, type Batch, type PackedWeights, type QTensor, type SyncKernelProvider } from '@lowbit/core'
import { inputColumns } from '../host/columns.js'
import { wrapCall } from '../layers/call.js'
import type { LayerSite } from '../layers/layer-site.js'
import type { Converted } from '../prepare/convert.js'
import type { Prepared } from '../prepare/prepare.js'
import type { Layer, Tensor, TfCore } from '../tf.js'
import { CodeProduct, floatProduct } from './code-product.js'

/** How a layer of a {@link KernelModel} is computed. */
export interface KernelLayer {
  readonly id: string
  /** Integer sums of activation codes; low-bit weights with float activations; or the layer as tfjs has it. */
  readonly how: 'integer' | 'float-activations' | 'tfjs'
  /** Why it is not on the kernels. */
  readonly reason?: string
}

/** A converted model whose products run on integer kernels. */
export interface KernelModel extends Disposable {
  readonly layers: readonly KernelLayer[]
  /** As `converted.host.run`. */
  run(inputs: Batch): Promise<Batch>
  dispose(): void
}

/**
 * Runs a converted model with a kernel provider: Dense and convolution layers with quantized inputs as exact integer sums of codes,
 * those with float inputs as low-bit weights times floats. Pooling, activation functions and what the kernels do not take stay tfjs's.
 *
 * @param kernels any provider that answers at once, such as `createWasmKernels()` of `@lowbit/kernels-wasm`; it stays the caller's
 */
export function onKernels(tf: TfCore, prepared: Prepared, converted: Converted, kernels: SyncKernelProvider): KernelModel {
  const products = new Map<Layer, LayerProduct>()
  const layers = converted.sites.map(({ id, weight, activation }): KernelLayer => {
    const site = prepared.sites.find((s) => s.site.id === id)?.site
    const left = (reason: string): KernelLayer => ({ id, how: 'tfjs', reason })
    if (site === undefined || weight === undefined) return left('its weight is not quantized')
    if (site.weight.form === 'embedding') return left('it looks rows up, and multiplies nothing')
    if (site.weight.suffix !== '') return left('a separable convolution is two products in one call')
    try {
      const product = new LayerProduct(tf, kernels, site, weight, activation)
      products.set(site.layer, product)
      return { id, how: product.integer ? 'integer' : 'float-activations' }
    } catch (error) {
      if (!isLowbitError(error, 'LOWBIT_UNSUPPORTED')) throw error
      return left(error.message)
    }
  })
  const dispose = (): void => {
    for (const product of products.values()) product[Symbol.dispose]()
    products.clear()
  }
  return {
    layers,
    async run(inputs) {
      const undo = [...products].map(([layer, product]) => wrapCall(layer, (x) => tf.tidy(() => product.forward(x))))
      try {
        // The host's forward pass runs before its first await: what is wrapped about it need not last longer.
        return await settled(converted.host.run(inputs), undo)
      } finally {
        for (const restore of undo.splice(0).reverse()) restore()
      }
    },
    dispose,
    [Symbol.dispose]: dispose,
  }
}

async function settled(running: Promise<Batch>, undo: (() => void)[]): Promise<Batch> {
  for (const restore of undo.splice(0).reverse()) restore()
  return running
}

/** One layer's product, an output group at a time. */
class LayerProduct implements Disposable {
  readonly integer: boolean
  readonly #tf: TfCore
  readonly #kernels: SyncKernelProvider
  readonly #site: LayerSite
  readonly #rule: ActivationRule | undefined
  readonly #codes: readonly CodeProduct[]
  readonly #floats: readonly PackedWeights[]

  constructor(tf: TfCore, kernels: SyncKernelProvider, site: LayerSite, weight: QTensor, rule: ActivationRule | undefined) {
    this.#tf = tf
    this.#kernels = kernels
    this.#site = site
    this.#rule = rule
    // Scales of single pixels do not survive being gathered into patches: such a convolution multiplies the values.
    this.integer = rule !== undefined && (rule.kind === 'static' || site.weight.form === 'dense')
    const parts = groupsOf(weight, site.groups)
    this.#codes = this.integer ? parts.map((part) => new CodeProduct(kernels, part)) : []
    this.#floats = this.integer ? [] : parts.map((part) => floatProduct(kernels, part))
  }

  /** @param x what the layer reads; a static rule has rounded it already */
  forward(x: Tensor): Tensor {
    const tf = this.#tf
    const rounded = roundedRows(tf, x, this.#rule)
    const seen = rounded === undefined ? x : this.integer ? rounded.codes : rounded.values
    const rows = inputColumns(tf, this.#site, seen)
    const [m, wide] = rows.shape
    const data = Float32Array.from(rows.dataSync<'float32'>())
    const { groups, columns } = this.#site
    const n = this.#site.rows
    const y = new Float32Array(m * n)
    for (let g = 0; g < groups; g++) {
      const part = groups === 1 ? data : take(data, m, wide, g * columns, columns)
      const product = this.integer ? this.#codes[g].multiply(part, m) : this.#kernels.matmul({ dtype: 'float32', shape: [m, columns], data: part }, this.#floats[g], undefined, { activations: 'float32' }).data
      for (let row = 0; row < m; row++) {
        const scale = rounded === undefined || !this.integer ? 1 : rounded.scales[rounded.scales.length === 1 ? 0 : row]
        for (let i = 0; i < n / groups; i++) y[row * n + (g * n) / groups + i] = scale * product[(row * n) / groups + i]
      }
    }
    const shape: unknown = this.#site.layer.computeOutputShape(x.shape)
    if (!Array.isArray(shape)) throw new LowbitError('LOWBIT_INTERNAL', { thing: this.#site.id, found: 'no output shape' })
    const out = tf.tensor(y, shape.map(Number), 'float32')
    const bias = biasOf(this.#site.layer)
    return activated(this.#site.layer, bias === undefined ? out : tf.add(out, bias))
  }

  [Symbol.dispose](): void {
    for (const product of this.#codes) product[Symbol.dispose]()
    for (const packed of this.#floats) packed.dispose()
  }
}

/** The whole numbers `code - zero point`, the values they stand for, and one scale or one a row. */
function roundedRows(tf: TfCore, x: Tensor, rule: ActivationRule | undefined): { readonly codes: Tensor; readonly values: Tensor; readonly scales: Float32Array } | undefined {
  if (rule === undefined) return undefined
  if (rule.kind === 'static') return { codes: tf.round(tf.div(x, rule.scale)), values: x, scales: Float32Array.of(rule.scale) }
  const f = Math.fround
  const width = x.shape[x.shape.length - 1]
  const data = x.dataSync<'float32'>()
  const count = data.length / width
  const [codes, values, scales] = [new Float32Array(data.length), new Float32Array(data.length), new Float32Array(count)]
  const signed = rule.dtype === 'int8'
  if (!signed) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'activation', found: `${rule.dtype} with scales found at run time`, expected: 'int8' })
  for (let r = 0; r < count; r++) {
    let [low, high] = [0, 0]
    for (let i = r * width; i < (r + 1) * width; i++) {
      low = Math.min(low, data[i])
      high = Math.max(high, data[i])
    }
    const { scale, inverse, zero } = rowParams(rule, low, high)
    scales[r] = scale
    for (let i = r * width; i < (r + 1) * width; i++) {
      codes[i] = Math.min(127, Math.max(-128, roundHalfEven(f(data[i] * inverse)) + zero)) - zero
      values[i] = codes[i] * scale
    }
  }
  return { codes: tf.tensor(codes, x.shape), values: tf.tensor(values, x.shape), scales }
}

/** Scale, its reciprocal and zero point of one row, in the float32 operations that training used. */
function rowParams(rule: Extract<ActivationRule, { kind: 'dynamic' }>, low: number, high: number): { readonly scale: number; readonly inverse: number; readonly zero: number } {
  const f = Math.fround
  const floor = f(rule.epsilon)
  if (rule.narrow === true) {
    const inverse = f(127 / Math.max(high, -low, f(127 * floor)))
    return { scale: f(1 / inverse), inverse, zero: 0 }
  }
  const scale = Math.max(rule.symmetric ? Math.max(f(low / -128), f(high / 127)) : f(f(high - low) / 255), floor)
  return { scale, inverse: f(1 / scale), zero: rule.symmetric ? 0 : Math.min(127, Math.max(-128, -128 - roundHalfEven(f(low / scale)))) }
}

/** The rows of each convolution group as a weight of its own. */
function groupsOf(weight: QTensor, groups: number): readonly QTensor[] {
  if (groups === 1) return [weight]
  const [n, k] = weight.shape
  const per = n / groups
  const perRow = weight.params.shape.length === 0 ? 0 : weight.params.scales.length / n
  return Array.from({ length: groups }, (_, g): QTensor => {
    const part = <A extends Float32Array | Int32Array>(values: A): A => (perRow === 0 ? values : (values.slice(g * per * perRow, (g + 1) * per * perRow) as A))
    const { scales, zeroPoints, shape } = weight.params
    return {
      scheme: weight.scheme,
      shape: [per, k],
      codes: weight.codes.slice(g * per * k, (g + 1) * per * k),
      params: { scales: part(scales), ...(zeroPoints === undefined ? {} : { zeroPoints: part(zeroPoints) }), shape: shape.length === 0 ? [] : [per, ...shape.slice(1)] },
    }
  })
}

function take(data: Float32Array, rows: number, wide: number, from: number, count: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(rows * count)
  for (let r = 0; r < rows; r++) out.set(data.subarray(r * wide + from, r * wide + from + count), r * count)
  return out
}

/** The layer's bias, or what the host reads in its place for the time of the run (a BatchNorm folded in). */
function biasOf(layer: Layer): Tensor | undefined {
  const bias: unknown = Reflect.get(layer, 'bias')
  const value: unknown = typeof bias === 'object' && bias !== null && 'read' in bias && typeof bias.read === 'function' ? bias.read() : undefined
  return isTensor(value) ? value : undefined
}

function activated(layer: Layer, y: Tensor): Tensor {
  const activation: unknown = Reflect.get(layer, 'activation')
  if (typeof activation !== 'object' || activation === null || !('apply' in activation) || typeof activation.apply !== 'function') return y
  const out: unknown = activation.apply(y)
  return isTensor(out) ? out : y
}

const isTensor = (value: unknown): value is Tensor => typeof value === 'object' && value !== null && 'dataSync' in value
