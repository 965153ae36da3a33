import { checkQTensor, codeRange, isIntegerCode, LowbitError, unpackWith, zeroPointsOf, type HostTensor, type Layout, type PackedTensor, type PackedWeights, type QTensor } from '@lowbit/core'
import type { Device } from './device.js'
import { formatOf, type CodeKind, type Format } from './format.js'
import { packHalves } from './half.js'

/** A matrix on the device: codes and, beside them, scales and zero points `[N, groups]`; or floats. */
export interface PackedMatrix {
  readonly format: Format | undefined
  readonly rows: number
  readonly columns: number
  readonly codes: GPUBuffer
  readonly scales: GPUBuffer
  readonly zeros: GPUBuffer | undefined
  /** Scales and zero points are halves: all of them are numbers that a half holds exactly. */
  readonly half: boolean
}

/** Handle of a {@link PackedMatrix}. */
export class GpuWeights implements PackedWeights {
  readonly rows: number
  readonly columns: number
  readonly bytes: number
  readonly #device: Device
  #matrix: PackedMatrix | undefined

  constructor(matrix: PackedMatrix, device: Device) {
    this.rows = matrix.rows
    this.columns = matrix.columns
    this.bytes = matrix.codes.size + matrix.scales.size + (matrix.zeros?.size ?? 0)
    this.#matrix = matrix
    this.#device = device
  }

  /** The matrix, if this handle is of that device and alive. */
  matrixOn(device: Device): PackedMatrix | undefined {
    return device === this.#device ? this.#matrix : undefined
  }

  dispose(): void {
    for (const buffer of [this.#matrix?.codes, this.#matrix?.scales, this.#matrix?.zeros]) buffer?.destroy()
    this.#matrix = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** @throws LOWBIT_UNSUPPORTED, LOWBIT_SHAPE, LOWBIT_DATA, LOWBIT_LIMIT */
export function packMatrix(source: QTensor | PackedTensor | HostTensor<'float32'>, device: Device, layout?: Layout): PackedMatrix {
  const weights = 'layout' in source ? unpackWith(source, layout) : source
  const [rows = 0, columns = 0] = weights.shape
  if (weights.shape.length !== 2 || rows < 1 || columns < 1) throw new LowbitError('LOWBIT_SHAPE', { thing: 'weights for the kernels', found: `shape [${weights.shape.join(', ')}]`, expected: 'a matrix [N, K], neither of them 0' })
  if (!('codes' in weights)) {
    if (weights.dtype !== 'float32') throw new LowbitError('LOWBIT_DTYPE', { thing: 'weights for the kernels', found: String(weights.dtype), expected: 'float32, or a quantized tensor' })
    return { format: undefined, rows, columns, codes: device.upload(Float32Array.from(weights.data)), scales: device.upload(new Float32Array(1)), zeros: undefined, half: false }
  }
  const format = formatOf(weights.scheme, columns)
  checkQTensor(weights, 'weights for the kernels')
  const zeroPoints = zeroPointsOf(weights)
  const plain = format.offset - format.add
  const table = (values: ArrayLike<number>, of: (value: number) => number): Float32Array<ArrayBuffer> => Float32Array.from({ length: rows * format.groups }, (_, i) => of(values[granule(weights, format.groups, i)] ?? 0))
  const scales = table(weights.params.scales, (scale) => scale)
  const zeros = zeroPoints.some((zero) => zero !== plain) ? table(zeroPoints, (zero) => plain - zero) : undefined
  const halves = [packHalves(scales), zeros === undefined ? undefined : packHalves(zeros)] as const
  const half = halves[0] !== undefined && (zeros === undefined) === (halves[1] === undefined)
  const tables = half ? halves : [scales, zeros]
  return {
    format, rows, columns, half,
    codes: device.upload(packWords(weights, format)),
    scales: device.upload(tables[0] ?? scales),
    zeros: tables[1] === undefined ? undefined : device.upload(tables[1]),
  }
}

function granule(q: QTensor, groups: number, i: number): number {
  const { kind } = q.scheme.granularity
  return kind === 'tensor' ? 0 : kind === 'channel' ? Math.floor(i / groups) : i
}

/** Field f of byte j of a word holds the code k = 4f + j of the word's codes. Padding is 0, and meets activations of 0. */
export function packWords(q: QTensor, format: Format): Uint32Array<ArrayBuffer> {
  const [rows = 0, columns = 0] = q.shape
  const { min, max } = isIntegerCode(q.scheme.dtype) ? codeRange(q.scheme.dtype) : { min: 0, max: 0 }
  const perWord = 32 / format.kind
  const words = new Uint32Array((rows * format.groups * format.group) / perWord)
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      const code = q.codes[n * columns + k] ?? 0
      if (code < min || code > max) throw new LowbitError('LOWBIT_DATA', { thing: `${q.scheme.dtype} weights for the kernels`, found: `code ${code} at element ${n * columns + k}`, expected: `${min} to ${max}` })
      const g = Math.floor(k / format.used)
      const at = (n * format.groups + g) * format.group + (k - g * format.used)
      words[Math.floor(at / perWord)] |= ((code + format.add) & fieldMask(format.kind)) << shiftOf(format.kind, at % perWord)
    }
  }
  return words
}

const fieldMask = (kind: CodeKind): number => 2 ** kind - 1
const shiftOf = (kind: CodeKind, k: number): number => 8 * (k & 3) + kind * (k >> 2)
