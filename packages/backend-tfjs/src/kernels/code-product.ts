import { dequantize, LowbitError, paramShape, zeroPointsOf, type PackedWeights, type QTensor, type SyncKernelProvider } from '@lowbit/core'

/** Largest code that kernels quantize a row of activations to: a row whose absmax it is keeps whole numbers as they are. */
const TOP = 127

/**
 * Products of rows of whole numbers with a quantized weight, on kernels that quantize each row they are given by its absmax. Two more
 * columns of ±{@link TOP}, against weights that cancel, give every row the scale 1, so that its numbers are its codes. Differences
 * from a zero point reach ±255: twice the half of them, and what remains.
 */
export class CodeProduct implements Disposable {
  readonly #kernels: SyncKernelProvider
  readonly #packed: PackedWeights
  readonly #columns: number

  /** @throws LOWBIT_UNSUPPORTED for a scheme that the kernels do not take */
  constructor(kernels: SyncKernelProvider, weight: QTensor) {
    this.#kernels = kernels
    this.#columns = weight.shape[1]
    this.#packed = kernels.prepack(withCancellingColumns(weight))
  }

  /** @param values whole numbers from -255 to 255, `[M, K]` @returns `Σ value · weight`, `[M, N]` */
  multiply(values: ArrayLike<number>, rows: number): Float32Array {
    let most = 0
    for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]))
    if (!(most <= 2 * TOP + 1)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'activation codes', found: String(most), expected: `whole numbers up to ${2 * TOP + 1}` })
    if (most <= TOP) return this.#product(rows, (i) => values[i])
    const halves = this.#product(rows, (i) => Math.trunc(values[i] / 2))
    const rest = this.#product(rows, (i) => values[i] % 2)
    return halves.map((h, i) => 2 * h + rest[i])
  }

  #product(rows: number, value: (i: number) => number): Float32Array {
    const wide = this.#columns + 2
    const x = new Float32Array(rows * wide)
    for (let m = 0; m < rows; m++) {
      for (let k = 0; k < this.#columns; k++) x[m * wide + k] = value(m * this.#columns + k)
      x.fill(TOP, m * wide + this.#columns, (m + 1) * wide)
    }
    return this.#kernels.matmul({ dtype: 'float32', shape: [rows, wide], data: x }, this.#packed, undefined, { activations: 'int8' }).data
  }

  [Symbol.dispose](): void {
    this.#packed.dispose()
  }
}

/** The weight with two more columns whose values add up to 0. A group that they open has the scale of the one before it. */
function withCancellingColumns(weight: QTensor): QTensor {
  const [n, k] = weight.shape
  const g = weight.scheme.granularity
  const shape = [n, k + 2]
  const grid = paramShape(g, shape)
  const was = weight.params.shape
  const [groups, grown] = g.kind === 'group' ? [was[1], grid[1]] : [1, 1]
  const stretch = <A extends Float32Array | Int32Array>(values: A): A => {
    if (grown === groups) return values
    const out = values.constructor === Int32Array ? new Int32Array(n * grown) : new Float32Array(n * grown)
    for (let i = 0; i < out.length; i++) out[i] = values[Math.floor(i / grown) * groups + Math.min(i % grown, groups - 1)]
    return out as A
  }
  const zeros = zeroPointsOf(weight)
  const codes = weight.codes.constructor === Uint8Array ? new Uint8Array(n * (k + 2)) : new Int8Array(n * (k + 2))
  for (let row = 0; row < n; row++) {
    codes.set(weight.codes.subarray(row * k, (row + 1) * k), row * (k + 2))
    const [up, down] = opposites(weight, zeros[g.kind === 'tensor' ? 0 : g.kind === 'channel' ? row : row * groups + groups - 1])
    codes[row * (k + 2) + k] = up
    codes[row * (k + 2) + k + 1] = down
  }
  const { zeroPoints, scales } = weight.params
  return { scheme: weight.scheme, shape, codes, params: { scales: stretch(scales), ...(zeroPoints === undefined ? {} : { zeroPoints: stretch(zeroPoints) }), shape: grid } }
}

/** Two codes as far above the zero point as below it. */
function opposites({ scheme }: QTensor, zero: number): readonly [number, number] {
  if (scheme.dtype === 'binary') return [1, -1]
  if (Number.isInteger(2 * zero)) return [Math.ceil(zero), Math.floor(zero)]
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights for integer products', found: `a zero point of ${zero}`, expected: 'whole or half numbers' })
}

/** The values a weight stands for, to multiply with activations that stay in float. */
export function floatProduct(kernels: SyncKernelProvider, weight: QTensor): PackedWeights {
  return kernels.prepack(weight.codes instanceof Int16Array || weight.codes instanceof Uint16Array ? dequantize(weight) : weight)
}
