import { dequantize, LowbitError, tensor, type QTensor, type Scheme } from '@lowbit/core'

/** One layer of the runtime: `relu(x · weightᵀ + bias)`, without the relu on the last. `codes` in place of `weight` once quantized. */
export interface Layer {
  readonly rows: number
  readonly columns: number
  readonly weight: Float32Array<ArrayBuffer>
  readonly bias: Float32Array<ArrayBuffer>
  readonly codes?: QTensor
}

/** Called with the input of each layer. */
export type See = (layer: number, input: Float32Array<ArrayBuffer>) => void

/** The whole runtime. Stands for an engine that has never heard of lowbit. */
export function runMlp(layers: readonly Layer[], x: Float32Array<ArrayBuffer>, batch: number, see?: See): Float32Array<ArrayBuffer> {
  return layers.reduce((input, { rows, columns, weight, bias }, index) => {
    see?.(index, input)
    const out = new Float32Array(batch * rows)
    for (let b = 0; b < batch; b++) {
      for (let n = 0; n < rows; n++) {
        let sum = bias[n]
        for (let k = 0; k < columns; k++) sum += input[b * columns + k] * weight[n * columns + k]
        out[b * rows + n] = index + 1 < layers.length ? Math.max(sum, 0) : sum
      }
    }
    return out
  }, x)
}

/** The runtime's own file: JSON. Weights of a quantized layer are codes and scales. */
export function writeMlp(layers: readonly Layer[], metadata: object): Uint8Array<ArrayBuffer> {
  const plain = layers.map(({ rows, columns, weight, bias, codes: q }): StoredLayer => ({
    rows,
    columns,
    bias: [...bias],
    ...(q === undefined ? { weight: [...weight] } : { q: { scheme: q.scheme, codes: [...q.codes], scales: [...q.params.scales], zeroPoints: [...(q.params.zeroPoints ?? [])], grid: q.params.shape } }),
  }))
  return new TextEncoder().encode(JSON.stringify({ ...metadata, layers: plain }))
}

interface StoredLayer {
  readonly rows: number
  readonly columns: number
  readonly bias: readonly number[]
  readonly weight?: readonly number[]
  readonly q?: { readonly scheme: Scheme; readonly codes: readonly number[]; readonly scales: readonly number[]; readonly zeroPoints: readonly number[]; readonly grid: readonly number[] }
}

/** Reads the runtime's file. @throws LOWBIT_FORMAT if it is none. */
export function readMlp(bytes: Uint8Array): Layer[] {
  try {
    const file: { readonly layers: readonly StoredLayer[] } = JSON.parse(new TextDecoder().decode(bytes))
    return file.layers.map(readLayer)
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: 'mlp file', found: 'bytes that do not parse', expected: 'what writeMlp writes', cause })
  }
}

function readLayer({ rows, columns, bias, weight, q }: StoredLayer): Layer {
  if (q === undefined) return { rows, columns, bias: Float32Array.from(bias), weight: tensor('float32', [rows, columns], Float32Array.from(weight ?? [])).data }
  const zeroPoints = q.zeroPoints.length === 0 ? {} : { zeroPoints: Int32Array.from(q.zeroPoints) }
  const data = q.scheme.dtype.startsWith('u') ? Uint8Array.from(q.codes) : Int8Array.from(q.codes)
  const codes: QTensor = { scheme: q.scheme, shape: [rows, columns], codes: data, params: { scales: Float32Array.from(q.scales), ...zeroPoints, shape: q.grid } }
  return { rows, columns, bias: Float32Array.from(bias), codes, weight: dequantize(codes).data }
}
