import { LowbitError } from './errors.js'
import { bitsOf, codeRange, isIntegerCode, type Granularity, type Scheme } from './scheme.js'
import { elementCount } from './tensor.js'

/** Scales and zero points, one a granule, row major over the granule grid. */
export interface QParams {
  /** Real step between two codes. May be negative in ONNX Runtime's symmetric block format. */
  readonly scales: Float32Array
  /** Code of the real value 0; absent when symmetric (the type's fixed middle). Float only with `zeroPoint: 'float'`. */
  readonly zeroPoints?: Int32Array | Float32Array
  /** Shape of the granule grid: `[]` per tensor, `[N]` per channel, `[N, ceil(K / size)]` per group along K. */
  readonly shape: readonly number[]
}

/** Codes one a byte (16-bit types: two bytes). */
export type Codes = Int8Array | Uint8Array | Int16Array | Uint16Array

/** A quantized tensor: its meaning, not how its bytes lie. See {@link PackedTensor} for bytes. */
export interface QTensor {
  readonly scheme: Scheme
  readonly shape: readonly number[]
  readonly codes: Codes
  readonly params: QParams
}

/** How bytes lie in a packed weight: see `layout/`. */
export interface PackedTensor {
  /** Name of the layout, such as `ort-nbits`. */
  readonly layout: string
  readonly scheme: Scheme
  readonly shape: readonly number[]
  /** The buffers of the layout by role: `codes`, `scales`, `zeroPoints`, … */
  readonly buffers: Readonly<Record<string, Uint8Array | Float32Array | Uint16Array | Int32Array>>
}

/**
 * Shape of the scales of a tensor of `shape` under a granularity.
 * @throws LOWBIT_SHAPE if the axis is not there, LOWBIT_UNSUPPORTED for `token`, whose scales exist at run time only.
 */
export function paramShape(granularity: Granularity, shape: readonly number[]): readonly number[] {
  if (granularity.kind === 'tensor') return []
  if (granularity.kind === 'token') {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'granularity token', found: 'stored parameters asked for', expected: 'tensor, channel or group: a token scale is found at run time' })
  }
  const size = shape[granularity.axis]
  if (size === undefined) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: `granularity ${granularity.kind}`, found: `axis ${granularity.axis} of shape [${shape.join(', ')}]`, expected: `an axis below ${shape.length}` })
  }
  if (granularity.kind === 'channel') return [size]
  return shape.map((s, axis) => (axis === granularity.axis ? Math.ceil(s / granularity.size) : s))
}

/**
 * Index into the scales for each element index: `granuleOf(i)`.
 * The slow, obvious mapping that fast loops are tested against.
 */
export function granuleIndex(granularity: Granularity, shape: readonly number[]): (element: number) => number {
  if (granularity.kind === 'tensor') return () => 0
  const grid = paramShape(granularity, shape)
  const axis = granularity.kind === 'token' ? 0 : granularity.axis
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1)
  const size = shape[axis] ?? 1
  if (granularity.kind !== 'group') return (element) => Math.floor(element / inner) % size
  const groups = grid[axis] ?? 1
  return (element) => {
    const outer = Math.floor(element / (inner * size))
    const along = Math.floor(element / inner) % size
    return (outer * groups + Math.floor(along / granularity.size)) * inner + (element % inner)
  }
}

/**
 * Checks that codes, scales and zero points have the sizes the scheme asks for, and that every code is one of its type: what a
 * worker, a plugin or a file gives is no tensor before this.
 * @throws LOWBIT_SHAPE naming what does not fit, LOWBIT_DATA naming a code or zero point that the type does not have,
 * LOWBIT_NONFINITE for scales or zero points that are no numbers
 */
export function checkQTensor(q: QTensor, thing: string): void {
  const count = elementCount(q.shape, thing)
  const granules = elementCount(paramShape(q.scheme.granularity, q.shape), thing)
  const fail = (found: string, expected: string): never => {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found, expected })
  }
  if (q.codes.length !== count) fail(`${q.codes.length} codes for shape [${q.shape.join(', ')}]`, `${count}`)
  if (q.params.scales.length !== granules) fail(`${q.params.scales.length} scales`, `${granules}`)
  const zeroPoints = q.params.zeroPoints
  if (zeroPoints !== undefined && zeroPoints.length !== granules) fail(`${zeroPoints.length} zero points`, `${granules}`)
  checkParams(q, thing)
  checkCodes(q, thing)
}

/** A zero point is a code, unless the scheme lets it be any number. */
function checkParams({ scheme: { dtype, zeroPoint }, params: { scales, zeroPoints } }: QTensor, thing: string): void {
  for (const [what, values] of [['scale', scales], ['zero point', zeroPoints ?? []]] as const) {
    const at = values.findIndex((v) => !Number.isFinite(v))
    if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `${what} ${values[at]} at ${at}`, expected: 'finite numbers' })
  }
  if (zeroPoints === undefined || zeroPoint === 'float' || !isIntegerCode(dtype)) return
  const { min, max } = codeRange(dtype)
  const at = zeroPoints.findIndex((z) => !Number.isInteger(z) || z < min || z > max)
  if (at >= 0) throw new LowbitError('LOWBIT_DATA', { thing, found: `zero point ${zeroPoints[at]} at ${at}`, expected: `a whole number from ${min} to ${max} for ${dtype}, or a scheme whose zero points are floats` })
}

/** Lowest and highest code of each array that holds codes. */
const HELD = new Map<Codes['constructor'], readonly [number, number]>([[Int8Array, [-128, 127]], [Uint8Array, [0, 255]], [Int16Array, [-32768, 32767]], [Uint16Array, [0, 65535]]])

function checkCodes({ scheme: { dtype }, codes }: QTensor, thing: string): void {
  const { min, max } = isIntegerCode(dtype) ? codeRange(dtype) : { min: 0, max: 2 ** bitsOf(dtype) - 1 }
  const held = HELD.get(codes.constructor)
  // An array that can hold nothing else need not be looked through.
  if (held !== undefined && held[0] >= min && held[1] <= max) return
  for (let i = 0; i < codes.length; i++) {
    if (!(codes[i] >= min && codes[i] <= max && Number.isInteger(codes[i])) || (codes[i] === 0 && dtype === 'binary')) throw new LowbitError('LOWBIT_DATA', { thing, found: `code ${codes[i]} at element ${i}`, expected: dtype === 'binary' ? '-1 or 1' : `${min} to ${max} for ${dtype}` })
  }
}
