import { granuleIndex, paramShape, type QTensor } from '../qtensor.js'
import { allocateCodes, zeroPointsOf } from '../reference/codes.js'
import { dequantize } from '../reference/dequantize.js'
import { quantizeGroups, quantizeRows } from '../reference/activations.js'
import type { KernelActivations } from '../contract/v2/kernels.js'
import { codeRange, type IntegerCode } from '../scheme.js'
import { weightScheme } from '../weight-scheme.js'
import { elementCount, tensor, type HostTensor } from '../tensor.js'
import { toyNormal, toyRandom } from './toy-random.js'

/** A weight the kernel suite tries: `name` as in `supports.schemes`. */
export interface ToyWeight {
  readonly name: string
  readonly dtype: IntegerCode
  readonly group?: number
  readonly perTensor?: boolean
  readonly asymmetric?: boolean
  readonly floatZero?: boolean
}

/** Codes over the whole range, both ends included; scales near 0.01, or all `scale`. */
export function toyWeights(weight: ToyWeight, n: number, k: number, seed: number, scale?: number): QTensor {
  const random = toyRandom(seed * 7919 + 1)
  const { group, perTensor = false, asymmetric = false, floatZero = false } = weight
  const base = weightScheme(weight.dtype, { symmetric: !asymmetric, ...(group === undefined ? {} : { group }), perTensor })
  const scheme = floatZero ? { ...base, zeroPoint: 'float' as const } : base
  const { min, max } = codeRange(weight.dtype)
  const codes = allocateCodes(weight.dtype, n * k)
  for (let i = 0; i < codes.length; i++) codes[i] = weight.dtype === 'binary' ? (random() < 0.5 ? min : max) : min + Math.floor(random() * (max - min + 1))
  codes[0] = min
  codes[codes.length - 1] = max
  const shape = paramShape(scheme.granularity, [n, k])
  const granules = elementCount(shape)
  const scales = Float32Array.from({ length: granules }, () => scale ?? 0.002 + random() / 50)
  if (!asymmetric) return { scheme, shape: [n, k], codes, params: { scales, shape } }
  const zero = (): number => min + random() * (max - min)
  const zeroPoints = floatZero ? Float32Array.from({ length: granules }, zero) : Int32Array.from({ length: granules }, () => Math.round(zero()))
  return { scheme, shape: [n, k], codes, params: { scales, zeroPoints, shape } }
}

/** Normal activations; `codes`: whole numbers from −127 to 127 with 127 in each row, which become themselves. */
export function toyActivations(m: number, k: number, seed: number, kind: 'normal' | 'codes' = 'normal'): HostTensor<'float32'> {
  const random = toyRandom(seed * 104729 + 3)
  const data = Float32Array.from({ length: m * k }, () => (kind === 'codes' ? Math.floor(random() * 255) - 127 : toyNormal(random)))
  if (kind === 'codes') for (let row = 0; row < m; row++) data[row * k] = 127
  return tensor('float32', [m, k], data)
}

/** A product in float64, and what its error is measured by. */
export interface ExactProduct {
  readonly values: Float64Array
  /** Σ of the absolute terms of each result. */
  readonly magnitudes: Float64Array
  /** How many terms are rounded one after another. */
  readonly terms: number
}

/** `x × wᵀ + bias`: with int8 activations the sums over each group are exact integers, and each has its scale with `int8-group`. */
export function exactProduct(x: HostTensor<'float32'>, weight: QTensor | HostTensor<'float32'>, bias: Float32Array | undefined, activations: KernelActivations): ExactProduct {
  return 'codes' in weight && activations !== 'float32' ? integerProduct(x, weight, bias, activations === 'int8-group') : floatProduct(x, 'codes' in weight ? dequantize(weight) : weight, bias)
}

function floatProduct(x: HostTensor<'float32'>, w: HostTensor<'float32'>, bias: Float32Array | undefined): ExactProduct {
  const [n = 0, k = 0] = w.shape
  const m = x.data.length / k
  const values = new Float64Array(m * n)
  const magnitudes = new Float64Array(m * n)
  for (let i = 0; i < values.length; i++) {
    const row = Math.floor(i / n)
    const column = i % n
    let sum = bias?.[column] ?? 0
    let size = Math.abs(sum)
    for (let j = 0; j < k; j++) {
      const term = (x.data[row * k + j] ?? 0) * (w.data[column * k + j] ?? 0)
      sum += term
      size += Math.abs(term)
    }
    values[i] = sum
    magnitudes[i] = size
  }
  return { values, magnitudes, terms: k }
}

function integerProduct(x: HostTensor<'float32'>, q: QTensor, bias: Float32Array | undefined, isGrouped: boolean): ExactProduct {
  const [n = 0, k = 0] = q.shape
  const { granularity } = q.scheme
  const group = granularity.kind === 'group' ? granularity.size : k
  const groups = Math.ceil(k / group)
  const activations = isGrouped ? quantizeGroups(x, group) : quantizeRows(x)
  const m = x.data.length / k
  const granuleOf = granuleIndex(granularity, q.shape)
  const zeroPoints = zeroPointsOf(q)
  const values = new Float64Array(m * n)
  const magnitudes = new Float64Array(m * n)
  for (let i = 0; i < values.length; i++) {
    const row = Math.floor(i / n)
    const column = i % n
    let sum = 0
    let size = 0
    for (let from = 0; from < k; from += group) {
      const granule = granuleOf(column * k + from)
      const zero = zeroPoints[granule] ?? 0
      let codes = 0
      let total = 0
      for (let j = from; j < Math.min(from + group, k); j++) {
        const a = activations.codes[row * k + j] ?? 0
        codes += a * (q.codes[column * k + j] ?? 0)
        total += a
      }
      const scale = (q.params.scales[granule] ?? 0) * (activations.scales[isGrouped ? row * groups + from / group : row] ?? 0)
      sum += (codes - zero * total) * scale
      size += (Math.abs(codes) + Math.abs(zero * total) + 128 * Math.abs(total)) * Math.abs(scale)
    }
    values[i] = sum + (bias?.[column] ?? 0)
    magnitudes[i] = size + Math.abs(bias?.[column] ?? 0)
  }
  return { values, magnitudes, terms: groups }
}
