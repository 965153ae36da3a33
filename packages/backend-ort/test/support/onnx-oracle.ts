import { BFLOAT16, decodeE8m0, decodeSmallFloat, dynamicQuantizeLinear, encodeE8m0, encodeSmallFloat, FLOAT16, FLOAT4_E2M1FN, FLOAT8_E4M3FN, FLOAT8_E4M3FNUZ, FLOAT8_E5M2, FLOAT8_E5M2FNUZ, roundHalfEven, type SmallFloat } from '@lowbit/core'
import { findAttribute, intAttribute, intsAttribute, type NodeProto } from '@lowbit/formats'

/** A tensor by what it means: element type in ONNX's spelling, and real values. */
export interface Meant {
  readonly type: string
  readonly shape: readonly number[]
  readonly values: Float64Array
}

const SMALL: Readonly<Record<string, SmallFloat>> = {
  FLOAT16, BFLOAT16, FLOAT8E4M3FN: FLOAT8_E4M3FN, FLOAT8E5M2: FLOAT8_E5M2, FLOAT8E4M3FNUZ: FLOAT8_E4M3FNUZ, FLOAT8E5M2FNUZ: FLOAT8_E5M2FNUZ, FLOAT4E2M1: FLOAT4_E2M1FN,
}

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  UINT2: [0, 3], INT2: [-2, 1], UINT4: [0, 15], INT4: [-8, 7], UINT8: [0, 255], INT8: [-128, 127], UINT16: [0, 65535], INT16: [-32768, 32767], INT32: [-(2 ** 31), 2 ** 31 - 1],
}

/** Real value of one stored element. Numbers of a type that JavaScript has come as they are. */
export function meaning(type: string, stored: number, isBits: boolean): number {
  if (type === 'FLOAT8E8M0') return decodeE8m0(stored)
  const small = SMALL[type]
  return small === undefined || !isBits ? stored : decodeSmallFloat(small, stored)
}

/** One value as it is stored in a type: bits for small floats, numbers for the rest. */
function stored(type: string, value: number, saturate: boolean): number {
  if (type === 'FLOAT8E8M0') return roundUpE8m0(value)
  const small = SMALL[type]
  if (small !== undefined) return encodeSmallFloat(small, value, saturate && !['FLOAT16', 'BFLOAT16'].includes(type))
  if (type === 'FLOAT') return Math.fround(value)
  return value
}

/** Cast's default, `round_mode` up: the next power of two that is no smaller; what is below the least one becomes it. */
function roundUpE8m0(value: number): number {
  if (value === 0) return 0
  const nearest = encodeE8m0(value)
  return decodeE8m0(nearest) < value ? nearest + 1 : nearest
}

/** Computes a node of the ONNX quantization operators from its specification. Results are as stored. */
export function oracle(node: NodeProto, inputs: readonly (Meant | undefined)[], outputTypes: readonly string[]): readonly (readonly number[])[] {
  const [x, scale, zero] = inputs
  const [type = 'FLOAT'] = outputTypes
  if (x === undefined) throw new Error('no input')
  switch (node.opType) {
    case 'Cast': return [Array.from(x.values, (v) => cast(type, v, intAttribute(node, 'saturate', 1) !== 0))]
    case 'QuantizeLinear': return [quantize(node, x, need(scale), zero, type)]
    case 'DequantizeLinear': {
      const granule = granules(node, x.shape, need(scale))
      return [Array.from(x.values, (v, i) => stored(type, (v - (zero?.values[granule(i)] ?? 0)) * (need(scale).values[granule(i)] ?? 1), false))]
    }
    case 'DynamicQuantizeLinear': {
      const made = dynamicQuantizeLinear(Float32Array.from(x.values))
      return [Array.from(made.codes), [made.scale], [made.zeroPoint]]
    }
    case 'MatMulInteger': return [matmul(shifted(x, inputs[2]), shifted(need(scale), inputs[3]))]
    case 'ConvInteger': return [conv(node, shifted(x, inputs[2]), shifted(need(scale), inputs[3], need(scale).shape[0]))]
    case 'QLinearMatMul':
    case 'QLinearConv': {
      const [, xs, xz, w, ws, wz, ys, yz] = inputs
      const product = node.opType === 'QLinearConv' ? conv(node, shifted(x, xz), shifted(need(w), wz)) : matmul(shifted(x, xz), shifted(need(w), wz))
      const factor = ((xs?.values[0] ?? 1) * (ws?.values[0] ?? 1)) / (ys?.values[0] ?? 1)
      return [product.map((sum) => clampTo(type, roundHalfEven(sum * factor) + (yz?.values[0] ?? 0)))]
    }
    default: throw new Error(`the oracle has no ${node.opType}`)
  }
}

function need(value: Meant | undefined): Meant {
  if (value === undefined) throw new Error('an input is missing')
  return value
}

function cast(type: string, value: number, saturate: boolean): number {
  const range = RANGES[type]
  // A type without NaN: ONNX's own cast gives the code of -0.
  if (type === 'FLOAT4E2M1' && Number.isNaN(value)) return 8
  if (range === undefined) return stored(type, value, saturate)
  // The fraction goes, then the low bits stay: casts to integers wrap.
  const size = range[1] - range[0] + 1
  const wrapped = ((Math.trunc(value) % size) + size) % size
  return wrapped > range[1] ? wrapped - size : wrapped
}

function clampTo(type: string, code: number): number {
  const [low, high] = RANGES[type] ?? [-Infinity, Infinity]
  return Math.min(Math.max(code, low), high)
}

function quantize(node: NodeProto, x: Meant, scale: Meant, zero: Meant | undefined, type: string): number[] {
  const granule = granules(node, x.shape, scale)
  return Array.from(x.values, (v, i) => {
    const ratio = Math.fround(v / (scale.values[granule(i)] ?? 1))
    // Adding the zero point turns -0 into 0.
    if (SMALL[type] !== undefined) return stored(type, ratio + 0, true)
    return clampTo(type, roundHalfEven(ratio) + (zero?.values[granule(i)] ?? 0))
  })
}

/** Index of the scale of an element: one for all, one a slice of the axis, or one a block along it. */
function granules(node: NodeProto, shape: readonly number[], scale: Meant): (element: number) => number {
  if (scale.values.length === 1) return () => 0
  const axis = findAttribute(node, 'axis') === undefined ? 1 : intAttribute(node, 'axis', 1)
  const at = axis < 0 ? axis + shape.length : axis
  const inner = shape.slice(at + 1).reduce((a, b) => a * b, 1)
  const size = shape[at] ?? 1
  const block = intAttribute(node, 'block_size', 0)
  if (block === 0) return (i) => Math.floor(i / inner) % size
  const blocks = Math.ceil(size / block)
  return (i) => (Math.floor(i / (inner * size)) * blocks + Math.floor((Math.floor(i / inner) % size) / block)) * inner + (i % inner)
}

/** Codes less their zero point: one for all, or one for each of `parts` equal slices. */
function shifted(x: Meant, zero: Meant | undefined, parts = 1): Meant {
  const each = x.values.length / (zero?.values.length === parts ? parts : 1)
  return { ...x, values: x.values.map((v, i) => v - (zero?.values[Math.floor(i / each)] ?? 0)) }
}

/** `[…, M, K] × […, K, N]` with equal leading sizes. */
function matmul(a: Meant, b: Meant): number[] {
  const [m = 1, k = 1] = a.shape.slice(-2)
  const n = b.shape.at(-1) ?? 1
  const batches = a.values.length / (m * k)
  const out: number[] = []
  for (let s = 0; s < batches; s++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0
        for (let c = 0; c < k; c++) sum += (a.values[(s * m + i) * k + c] ?? 0) * (b.values[b.shape.length > 2 ? (s * k + c) * n + j : c * n + j] ?? 0)
        out.push(sum)
      }
    }
  }
  return out
}

/** Two-dimensional convolution with stride 1 and one group. */
function conv(node: NodeProto, x: Meant, w: Meant): number[] {
  const [n = 1, channels = 1, height = 1, width = 1] = x.shape
  const [filters = 1, , kh = 1, kw = 1] = w.shape
  const [top = 0, left = 0, bottom = 0, right = 0] = intsAttribute(node, 'pads') ?? []
  const out: number[] = []
  for (let b = 0; b < n; b++) for (let f = 0; f < filters; f++) for (let i = -top; i + kh <= height + bottom; i++) for (let j = -left; j + kw <= width + right; j++) {
    let sum = 0
    for (let c = 0; c < channels; c++) for (let p = 0; p < kh; p++) for (let q = 0; q < kw; q++) {
      const row = i + p
      const column = j + q
      if (row < 0 || column < 0 || row >= height || column >= width) continue
      sum += (x.values[((b * channels + c) * height + row) * width + column] ?? 0) * (w.values[((f * channels + c) * kh + p) * kw + q] ?? 0)
    }
    out.push(sum)
  }
  return out
}
