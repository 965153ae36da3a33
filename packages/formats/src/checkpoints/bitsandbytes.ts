import { doubleQuantize, dynamicMap, elementCount, FP4, LowbitError, NF4, packHighNibbleFirst, quantizeBlockwise, type HostTensor } from '@lowbit/core'
import type { GroupedWeight } from './grouped-weight.js'
import { bytesIn, floatsOf, hasPart, type PartTensors } from './tensors.js'

/** What bitsandbytes keeps beside a 4-bit weight, as JSON in a tensor of bytes. */
interface QuantState {
  readonly type: 'nf4' | 'fp4'
  readonly blocksize: number
  readonly shape: readonly [number, number]
  readonly nested?: { readonly blocksize: number; readonly offset: number }
}

const STATE = /^weight\.quant_state\.bitsandbytes__(nf4|fp4)$/

/**
 * A 4-bit weight of bitsandbytes: `weight` uint8 `[n/2, 1]`, the first value of a pair in the high nibble; `weight.absmax`, `weight.quant_map`,
 * `weight.quant_state.bitsandbytes__nf4`; nested statistics in `weight.nested_absmax`, `weight.nested_quant_map`. Blocks run over the rows without a break.
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_FORMAT for a state that is none.
 */
export function readBitsandbytes(parts: PartTensors, thing = 'bitsandbytes'): GroupedWeight {
  const state = readState(parts, thing)
  const count = elementCount(state.shape, thing)
  const { bytes } = bytesIn(parts, 'weight', [Math.ceil(count / 2), 1], thing)
  const codes = new Uint8Array(count)
  for (let i = 0; i < count; i++) codes[i] = i % 2 === 0 ? (bytes[i >> 1] as number) >> 4 : (bytes[i >> 1] as number) & 15
  const blocks = Math.ceil(count / state.blocksize)
  const table = floatsOf(parts, 'weight.quant_map', [16], thing)
  return { shape: state.shape, bits: 4, group: state.blocksize, codes, table, flat: true, scales: readScales(parts, state, blocks, thing) }
}

function readScales(parts: PartTensors, { nested }: QuantState, blocks: number, thing: string): Float32Array {
  if (nested === undefined) return floatsOf(parts, 'weight.absmax', [blocks], thing)
  const { bytes } = bytesIn(parts, 'weight.absmax', [blocks], thing)
  const map = floatsOf(parts, 'weight.nested_quant_map', [256], thing)
  const absmax = floatsOf(parts, 'weight.nested_absmax', [Math.ceil(blocks / nested.blocksize)], thing)
  return Float32Array.from(bytes, (code, i) => Math.fround((map[code] as number) * (absmax[Math.floor(i / nested.blocksize)] as number)) + nested.offset)
}

function readState(parts: PartTensors, thing: string): QuantState {
  const name = Object.keys(parts).find((key) => STATE.test(key))
  if (name === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: 'no weight.quant_state', expected: 'weight.quant_state.bitsandbytes__nf4 or __fp4' })
  const { bytes } = bytesIn(parts, name, [undefined], thing)
  const failure = (found: string, cause?: unknown): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing: `${thing}.${name}`, found, expected: 'the state of a 4-bit matrix', cause })
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw failure('no JSON', cause)
  }
  if (typeof value !== 'object' || value === null) throw failure('no object')
  const state = value as Readonly<Record<string, unknown>>
  const { quant_type: type, blocksize, shape, nested_blocksize: nestedBlock, nested_offset: offset } = state
  if ((type !== 'nf4' && type !== 'fp4') || !isCount(blocksize) || !Array.isArray(shape) || shape.length !== 2 || !shape.every(isCount)) throw failure(JSON.stringify(value).slice(0, 200))
  const sizes = shape as [number, number]
  if (nestedBlock === undefined || !hasPart(parts, 'weight.nested_absmax')) return { type, blocksize, shape: sizes }
  if (!isCount(nestedBlock) || typeof offset !== 'number') throw failure(JSON.stringify(value).slice(0, 200))
  return { type, blocksize, shape: sizes, nested: { blocksize: nestedBlock, offset } }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0

export interface BitsandbytesOptions {
  readonly type: 'nf4' | 'fp4'
  /** Default 64. */
  readonly blocksize?: number
  /** QLoRA's double quantization of the block scales. */
  readonly nested?: boolean
  /** The type that the model computes in. Default `float16`. */
  readonly dtype?: 'float32' | 'float16' | 'bfloat16'
}

/** A float matrix as bitsandbytes quantizes and stores it, by the names of its checkpoints. @throws LOWBIT_SHAPE for what is no matrix. */
export function writeBitsandbytes(x: HostTensor<'float32'>, { type, blocksize = 64, nested = false, dtype = 'float16' }: BitsandbytesOptions): Readonly<Record<string, HostTensor>> {
  if (x.shape.length !== 2) throw new LowbitError('LOWBIT_SHAPE', { thing: 'bitsandbytes', found: `[${x.shape.join(', ')}]`, expected: 'a matrix' })
  const { codes, absmax } = quantizeBlockwise(x.data, type, blocksize)
  if (type === 'fp4') signZeros(codes, x.data, absmax, blocksize)
  const packed = packHighNibbleFirst(codes)
  const state: Record<string, unknown> = { quant_type: type, blocksize, dtype, shape: x.shape }
  const tensors: Record<string, HostTensor> = {
    weight: { dtype: 'uint8', shape: [packed.length, 1], data: packed },
    'weight.quant_map': { dtype: 'float32', shape: [16], data: type === 'nf4' ? NF4 : FP4 },
  }
  if (nested) {
    const twice = doubleQuantize(absmax)
    Object.assign(state, { nested_blocksize: 256, nested_dtype: 'float32', nested_offset: twice.offset })
    tensors['weight.absmax'] = { dtype: 'uint8', shape: [absmax.length], data: twice.codes }
    tensors['weight.nested_absmax'] = { dtype: 'float32', shape: [twice.absmax.length], data: twice.absmax }
    tensors['weight.nested_quant_map'] = { dtype: 'float32', shape: [256], data: dynamicMap() }
  } else tensors['weight.absmax'] = { dtype: 'float32', shape: [absmax.length], data: absmax }
  const json = new TextEncoder().encode(JSON.stringify(state))
  tensors[`weight.quant_state.bitsandbytes__${type}`] = { dtype: 'uint8', shape: [json.length], data: json }
  return tensors
}

/** FP4 has two codes for 0. bitsandbytes gives the second to what rounds to 0 from above. */
function signZeros(codes: Uint8Array, x: Float32Array, absmax: Float32Array, blocksize: number): void {
  codes.forEach((code, i) => {
    if (code === 0 && Math.fround((x[i] as number) * Math.fround(1 / (absmax[Math.floor(i / blocksize)] as number))) > 0) codes[i] = 8
  })
}
