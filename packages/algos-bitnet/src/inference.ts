import type { HostTensor, IntegerProduct, KernelProvider, PackedWeights, QTensor } from '@lowbit/core'
import { integerMatmul, LowbitError, referenceOps } from '@lowbit/core'
import { bitActivationCodes } from './activation-quant.js'
import { rmsNorm } from './rms-norm.js'

export interface BitInferenceOptions {
  /** Gain of the norm, `[K]`. */
  readonly gain?: Float32Array
  /** `[N]`. */
  readonly bias?: Float32Array
  /** ε of the norm. Default 1e-6. */
  readonly epsilon?: number
  readonly norm?: boolean
}

/** int8 codes of rows, and the factor they were multiplied with. */
export interface BitRows {
  readonly codes: Int8Array
  /** `[M]`: `127 / max|x|`. */
  readonly scales: Float32Array
}

/** Normed and quantized rows, as training sees them. @param x `[M, K]` */
export function bitRows(x: HostTensor<'float32'>, options: BitInferenceOptions = {}): BitRows {
  const { codes, scale } = bitActivationCodes(referenceOps().ops, normed(x, options))
  return { codes: Int8Array.from(codes.data), scales: Float32Array.from(scale.data) }
}

function normed(x: HostTensor<'float32'>, { gain, epsilon = 1e-6, norm = true }: BitInferenceOptions): HostTensor<'float32'> {
  const { ops } = referenceOps()
  const rows = ops.constant(x.data, x.shape)
  const out = norm ? rmsNorm(ops, rows, gain === undefined ? undefined : ops.constant(gain), epsilon) : rows
  return { dtype: 'float32', shape: out.shape, data: Float32Array.from(out.data) }
}

/** BitLinear in integers: `y = acc / xScale / wScale + b`, the int32 sums exact. @param weight ternary `[N, K]` with one scale */
export function bitLinearInteger(x: HostTensor<'float32'>, weight: QTensor, options: BitInferenceOptions = {}): IntegerProduct {
  expectTernary(weight)
  const { codes, scales } = bitRows(x, options)
  return bitGemv(codes, scales, weight, options.bias)
}

/** The product alone: codes `[M, K]` times ternary codes. @param scales `[M]`, the factors the rows were multiplied with */
export function bitGemv(codes: Int8Array, scales: Float32Array, weight: QTensor, bias?: Float32Array): IntegerProduct {
  return integerMatmul({ codes, rows: scales.length, scales: Float64Array.from(scales, (s) => 1 / s) }, weight, bias)
}

/** A BitLinear whose product runs on integer kernels; the norm runs here. Dispose of it, or of the provider. */
export interface BitLinearKernel extends Disposable {
  forward(x: HostTensor<'float32'>): Promise<HostTensor<'float32'>>
}

/**
 * Prepacks ternary weights for a kernel provider.
 * @throws LOWBIT_UNSUPPORTED if the provider has no ternary kernel: use {@link bitLinearInteger}.
 */
export function bitLinearOnKernels(kernels: KernelProvider, weight: QTensor, options: BitInferenceOptions = {}): BitLinearKernel {
  expectTernary(weight)
  if (!kernels.supports.schemes.includes('ternary/tensor')) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: kernels.name, found: `schemes ${kernels.supports.schemes.join(', ')}`, expected: 'ternary/tensor', fix: 'use bitLinearInteger' })
  }
  const packed: PackedWeights = kernels.prepack(weight)
  return {
    async forward(x) {
      return kernels.matmul(normed(x, options), packed, undefined, { activations: 'int8', ...(options.bias === undefined ? {} : { bias: options.bias }) })
    },
    [Symbol.dispose]: () => packed.dispose(),
  }
}

function expectTernary(weight: QTensor): void {
  if (weight.scheme.dtype === 'ternary' && weight.scheme.granularity.kind === 'tensor') return
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'BitLinear', found: `${weight.scheme.dtype} weights, granularity ${weight.scheme.granularity.kind}`, expected: 'ternary weights with one scale', fix: 'ternarise the latent weights first' })
}
