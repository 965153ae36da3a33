import type { HostTensor } from '@lowbit/core'
import { expect } from 'vitest'
import { goldenNumbers, inputFloats, runGoldens, type GoldenCase, type GoldenHandler, type GoldenResult, type GoldenSet, type GoldenTensor } from '../../../tools/goldens.js'
import {
  convertQzeros, groupedFromQTensor, groupedToQTensor, groupedValues, readAwq, readBitnet, readBitsandbytes, readCompressed, readGptq, readMlx,
  writeAwq, writeBitnet, writeBitsandbytes, writeCompressed, writeGptq, writeMlx, type GroupedWeight, type GptqFormat, type GptqOptions, type PartTensors,
} from '../src/checkpoints/index.js'
import { dequantize } from './quantized.js'

const isHost = (t: GoldenTensor | HostTensor): t is HostTensor => t.data.constructor.name.endsWith('Array')

/** Tensors of a case as a checkpoint has them. bfloat16 scales stand as raw bits in the set. */
function parts(golden: GoldenCase, set: GoldenSet, roles: readonly string[], rename: (role: string) => string = (role) => role): PartTensors {
  const named: Record<string, HostTensor> = {}
  for (const role of roles) {
    const name = golden.inputs[role] ?? golden.outputs[role]
    if (typeof name !== 'string') continue
    const tensor = set.tensor(name)
    if (!isHost(tensor)) throw new Error(`${golden.id}: ${role}`)
    named[rename(role)] = tensor.dtype === 'uint16' ? { dtype: 'bfloat16', shape: tensor.shape, data: Uint16Array.from(tensor.data as Uint16Array) } : tensor
  }
  return named
}

const bytes = (golden: GoldenCase, set: GoldenSet, role: string): Uint8Array => Uint8Array.from(set.tensor(String(golden.inputs[role])).data as ArrayLike<number>)

/** As codes with scales and zero points the weight means the same, as far as a float zero point allows. */
function sameAsQTensor(w: GroupedWeight): void {
  if (w.table !== undefined || w.flat === true) return
  const values = groupedValues(w)
  const q = dequantize(groupedToQTensor(w))
  const [, columns] = w.shape
  const top = values.reduce((a, v) => Math.max(a, Math.abs(v)), 0)
  q.forEach((value, i) => {
    const want = values[Math.floor(i / columns) * columns + (w.columns?.[i % columns] ?? i % columns)] ?? NaN
    expect(Math.abs(value - want)).toBeLessThanOrEqual(w.minima === undefined ? 0 : 4e-6 * top)
  })
}

const gptq: GoldenHandler = (golden, set) => {
  const { bits, groupSize, checkpointFormat: format } = golden.params as { readonly bits: GptqOptions['bits']; readonly groupSize: number; readonly checkpointFormat: GptqFormat }
  const read = readGptq(parts(golden, set, ['qweight', 'qzeros', 'scales', 'g_idx']), { bits, groupSize, format })
  if (golden.informative) return { w: groupedValues(read) }
  // Codes and zeros of the set are in the order of the model; the weight to be written is made from them.
  const [rows, columns] = read.shape
  const codes = bytes(golden, set, 'codes')
  const again = Uint8Array.from(read.codes, (_, i) => codes[Math.floor(i / columns) * columns + (read.columns?.[i % columns] ?? i % columns)] ?? 255)
  expect(again).toEqual(read.codes)
  const zeros = goldenNumbers(set.tensor(String(golden.inputs['zeros'])))
  const groups = columns / groupSize
  expect(Array.from(read.zeroPoints ?? [])).toEqual(Array.from({ length: rows * groups }, (_, i) => zeros[(i % groups) * rows + Math.floor(i / groups)]))
  sameAsQTensor(read)
  if (read.columns === undefined) expect(groupedFromQTensor(groupedToQTensor(read))).toEqual({ ...read })
  return { ...writeGptq(read, format), w: groupedValues(read) }
}

const convert: GoldenHandler = (golden, set) => {
  const { data, shape } = set.tensor(String(golden.inputs['v2']))
  const { bits } = golden.params as { readonly bits: number }
  const v1 = convertQzeros(data as Int32Array, shape[1] ?? 0, bits, 'gptq')
  return { v1, v2Again: convertQzeros(v1, shape[1] ?? 0, bits, 'gptq_v2') }
}

const awq: GoldenHandler = (golden, set) => {
  const read = readAwq(parts(golden, set, ['qweight', 'qzeros', 'scales']), Number(golden.params['groupSize']))
  expect(read.codes).toEqual(bytes(golden, set, 'codes'))
  sameAsQTensor(read)
  return { ...writeAwq(read), w: groupedValues(read) }
}

const compressed: GoldenHandler = (golden, set) => {
  const { bits, symmetric, dtype } = golden.params as { readonly bits: number; readonly symmetric: boolean; readonly dtype: string }
  const read = readCompressed(parts(golden, set, ['weight_packed', 'weight_scale', 'weight_zero_point', 'weight_shape']), { bits, symmetric })
  const codes = goldenNumbers(set.tensor(String(golden.inputs['codes'])))
  expect(Array.from(read.codes, (code) => code - 2 ** (bits - 1))).toEqual([...codes])
  sameAsQTensor(read)
  const written = writeCompressed(read, dtype === 'float32' ? 'float32' : 'float16')
  expect(written.symmetric).toBe(symmetric)
  return { ...written.tensors, w: groupedValues(read) }
}

const STATE = /^quant_state/
const bitsandbytes: GoldenHandler = (golden, set) => {
  const { quantType: type, blocksize, nested, dtype, shape } = golden.params as { readonly quantType: 'nf4' | 'fp4'; readonly blocksize: number; readonly nested: boolean; readonly dtype: 'float32'; readonly shape: readonly number[] }
  const rename = (role: string): string => (role === 'weight' ? role : `weight.${role}`)
  const read = readBitsandbytes(parts(golden, set, Object.keys(golden.outputs).filter((role) => role !== 'w' && role !== 'absmaxFloat'), rename))
  const written = writeBitsandbytes({ dtype: 'float32', shape, data: Float32Array.from(inputFloats(set, golden, 'x')) }, { type, blocksize, nested, dtype })
  const results: Record<string, GoldenResult> = { absmaxFloat: read.scales, w: groupedValues(read) }
  for (const role of Object.keys(golden.outputs)) {
    const tensor = written[rename(role)]
    if (tensor === undefined) continue
    results[role] = STATE.test(role) ? sameJson(tensor) : tensor
  }
  const own = readBitsandbytes(written)
  expect(own.codes).toEqual(read.codes)
  return results
}

const sameJson = (got: HostTensor): GoldenResult => (want) => {
  const parse = (data: ArrayLike<number | bigint>): Record<string, unknown> => JSON.parse(new TextDecoder().decode(Uint8Array.from(data as ArrayLike<number>)))
  const { nested_offset: gotOffset, ...gotRest } = parse(got.data)
  const { nested_offset: wantOffset, ...wantRest } = parse(want.data)
  expect(gotRest).toEqual(wantRest)
  if (wantOffset !== undefined) expect(Math.abs(Number(gotOffset) - Number(wantOffset))).toBeLessThanOrEqual(1e-6)
}

const bitnet: GoldenHandler = (golden, set) => {
  const linear = golden.params['linearClass'] as 'autobitlinear' | 'bitlinear'
  const read = readBitnet(parts(golden, set, ['weight', 'weight_scale']), linear)
  expect([...read.codes]).toEqual([...goldenNumbers(set.tensor(String(golden.inputs['codes'])))])
  sameAsQTensor(read)
  return { ...writeBitnet(read, linear), w: groupedValues(read) }
}

const mlx: GoldenHandler = (golden, set) => {
  const { bits, groupSize } = golden.params as { readonly bits: number; readonly groupSize: number }
  const stored = parts(golden, set, ['packed', 'scales', 'biases'], (role) => (role === 'packed' ? 'weight' : role))
  const read = readMlx(stored, { bits, groupSize })
  sameAsQTensor(read)
  const again = writeMlx(read)
  expect(new Int32Array(again.weight.data.buffer)).toEqual(stored['weight']?.data)
  expect(readMlx(again, { bits, groupSize })).toEqual(read)
  return { codes: read.codes, w: groupedValues(read) }
}

const kindOf = (golden: GoldenCase): string => {
  const kind = String(golden.extra['kind'])
  if (/^gptq-v[12]/.test(kind)) return 'gptq'
  return kind === 'gptq-convert' ? kind : (kind.split('-')[0] ?? '')
}

runGoldens('lm-pack', { gptq, 'gptq-convert': convert, awq, compressed, bnb: bitsandbytes, bitnet, mlx }, { kindOf })
