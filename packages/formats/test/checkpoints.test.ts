import { isLowbitError, type HostTensor } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checkpointFormat, groupedFromQTensor, groupedToQTensor, groupedValues, isPackedWeight, quantizationConfig, readAwq, readBitnet, readBitsandbytes, readCompressed, readGptq, readMlx, readPackedWeight,
  writeAwq, writeBitnet, writeBitsandbytes, writeCompressed, writeGptq, writeMlx, type CheckpointFormat, type GroupedWeight, type PartTensors,
} from '../src/checkpoints/index.js'
import { filesInMemory, openHuggingFace } from '../src/huggingface/index.js'
import { writeSafetensors } from '../src/index.js'
import { dequantize, int4, uint2, uint4 } from './quantized.js'

const half = (i: number): number => 0.0078125 * (1 + (i % 7))

async function codeOf(run: () => unknown): Promise<string | undefined> {
  try {
    await run()
  } catch (error) {
    return isLowbitError(error) ? error.code : `not ours: ${String(error)}`
  }
  return undefined
}

/** A weight with zero points 1 to 15, which every format of 4 bits holds. */
const weight = (): GroupedWeight => {
  const w = groupedFromQTensor(uint4(64, half))
  return { ...w, zeroPoints: Int32Array.from(w.zeroPoints ?? [], (zero) => Math.max(1, zero)), shape: [4, 512] }
}
/** The same eight times over, so that N fills words. */
function tall(): GroupedWeight {
  const w = weight()
  const repeat = <T extends Uint8Array | Int32Array | Float32Array>(data: T, make: (values: number[]) => T): T => make(Array.from({ length: 8 }, () => [...data]).flat())
  return { ...w, shape: [32, 512], codes: repeat(w.codes as Uint8Array, (v) => Uint8Array.from(v)), scales: repeat(w.scales, (v) => Float32Array.from(v)), zeroPoints: repeat(w.zeroPoints ?? new Int32Array(), (v) => Int32Array.from(v)) }
}

const named = (layer: string, tensors: PartTensors): Record<string, HostTensor> => Object.fromEntries(Object.entries(tensors).map(([name, t]) => [`${layer}.${name}`, t]))

describe('packed checkpoints', () => {
  const ternary: GroupedWeight = { shape: [8, 16], bits: 2, group: 16, codes: Int8Array.from({ length: 128 }, (_, i) => (i % 3) - 1), scales: new Float32Array(8).fill(0.5) }
  const formats: [string, CheckpointFormat, PartTensors, GroupedWeight][] = [
    ['gptq', { method: 'gptq', bits: 4, groupSize: 64, format: 'gptq', actOrder: false }, writeGptq(tall(), 'gptq'), tall()],
    ['gptq_v2', { method: 'gptq', bits: 4, groupSize: 64, format: 'gptq_v2', actOrder: false }, writeGptq(tall(), 'gptq_v2'), tall()],
    ['awq', { method: 'awq', groupSize: 64 }, writeAwq(tall()), tall()],
    ['compressed-tensors', { method: 'compressed-tensors', bits: 4, symmetric: false }, writeCompressed(tall()).tensors, tall()],
    ['mlx', { method: 'mlx', bits: 4, groupSize: 64, overrides: new Map() }, writeMlx(tall()), tall()],
    ['bitnet', { method: 'bitnet', linear: 'autobitlinear' }, writeBitnet(ternary, 'autobitlinear'), ternary],
  ]

  it.each(formats)('%s: what is written into a folder is what is read from it', async (_, format, tensors, want) => {
    const config = format.method === 'mlx' ? { quantization: quantizationConfig(format) } : { quantization_config: quantizationConfig(format) }
    const folder = await openHuggingFace(filesInMemory({ 'config.json': new TextEncoder().encode(JSON.stringify(config)), 'model.safetensors': writeSafetensors({ ...named('layer', tensors), 'lm_head.weight': { dtype: 'float32', shape: [1], data: Float32Array.of(1) } }) }))
    const found = checkpointFormat(folder.config)
    expect(found).toEqual(format)
    expect([isPackedWeight(folder, 'layer', format), isPackedWeight(folder, 'lm_head', format)]).toEqual([true, false])
    expect(groupedValues(await readPackedWeight(folder, 'layer', format))).toEqual(groupedValues(want))
    expect(await codeOf(() => readPackedWeight(folder, 'lm_head', format))).toBe('LOWBIT_NOT_FOUND')
  })

  it('reads blocks of bitsandbytes that run across rows', () => {
    const x: HostTensor<'float32'> = { dtype: 'float32', shape: [3, 96], data: Float32Array.from({ length: 288 }, (_, i) => Math.sin(i)) }
    const tensors = writeBitsandbytes(x, { type: 'nf4' })
    expect(tensors['weight.absmax']?.shape).toEqual([5])
    const read = readBitsandbytes(tensors)
    const error = groupedValues(read).reduce((most, value, i) => Math.max(most, Math.abs(value - (x.data[i] ?? NaN))), 0)
    // Half the widest step of NF4's levels, times the largest value.
    expect(error).toBeLessThan(0.16)
    expect(() => groupedToQTensor(read)).toThrow('across rows')
  })

  it('keeps the order of activations', () => {
    const columns = Int32Array.from({ length: 512 }, (_, j) => (j * 5) % 512)
    const w = { ...tall(), columns }
    const again = readGptq(writeGptq(w, 'gptq_v2'), { bits: 4, groupSize: 64, format: 'gptq_v2' })
    expect(groupedValues(again)).toEqual(groupedValues(w))
    expect(again.columns).toBeDefined()
  })

  it('means what a quantized tensor means', () => {
    for (const q of [int4(32, half), uint4(64, half), uint2(256, half)]) {
      const w = groupedFromQTensor(q)
      expect(Array.from(groupedValues(w), (v) => v + 0)).toEqual(Array.from(dequantize(q), (v) => v + 0))
      expect(Array.from(dequantize(groupedToQTensor(w)), (v) => v + 0)).toEqual(Array.from(dequantize(q), (v) => v + 0))
    }
  })

  const w = tall()
  it.each([
    ['a zero point of 0 in version 1', () => writeGptq({ ...w, zeroPoints: new Int32Array(w.scales.length) }, 'gptq')],
    ['scales that are no float16 values', () => writeAwq({ ...w, scales: w.scales.map(() => 0.1) })],
    ['AWQ of 3 bits', () => writeAwq({ ...w, bits: 3 })],
    ['AWQ in the order of activations', () => writeAwq({ ...w, columns: new Int32Array(512) })],
    ['several scales in BitNet', () => writeBitnet({ ...ternary, scales: Float32Array.of(1, 2) }, 'bitlinear')],
    ['groups that MLX does not have', () => writeMlx({ ...w, group: 16 })],
  ])('refuses to write %s', async (_, write) => {
    expect(await codeOf(write)).toBe('LOWBIT_UNSUPPORTED')
  })

  it.each([
    ['an unknown method', { quantization_config: { quant_method: 'quip' } }, 'LOWBIT_UNSUPPORTED'],
    ['GPTQ of an unknown version', { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 32, checkpoint_format: 'marlin' } }, 'LOWBIT_UNSUPPORTED'],
    ['GPTQ of 5 bits', { quantization_config: { quant_method: 'gptq', bits: 5, group_size: 32 } }, 'LOWBIT_UNSUPPORTED'],
    ['AWQ gemv', { quantization_config: { quant_method: 'awq', bits: 4, group_size: 32, version: 'gemv' } }, 'LOWBIT_UNSUPPORTED'],
    ['bits that are text', { quantization_config: { quant_method: 'gptq', bits: 'four', group_size: 32 } }, 'LOWBIT_FORMAT'],
    ['mixed schemes', { quantization_config: { quant_method: 'compressed-tensors', format: 'pack-quantized', config_groups: { a: { weights: { num_bits: 4 } }, b: { weights: { num_bits: 8 } } } } }, 'LOWBIT_UNSUPPORTED'],
    ['bitsandbytes of 8 bits', { quantization_config: { quant_method: 'bitsandbytes', load_in_8bit: true } }, 'LOWBIT_UNSUPPORTED'],
    ['an MLX mode', { quantization: { bits: 4, group_size: 32, mode: 'mxfp4' } }, 'LOWBIT_UNSUPPORTED'],
  ])('refuses %s', async (_, config, code) => {
    expect(await codeOf(() => checkpointFormat(config))).toBe(code)
  })

  it('leaves a float model alone', () => {
    expect(checkpointFormat({ model_type: 'llama' })).toBeUndefined()
  })

  const shapes: fc.Arbitrary<number[]> = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 3 })
  it('reads or refuses tensors of any shape', async () => {
    const good: [PartTensors, (parts: PartTensors) => GroupedWeight][] = [
      [writeGptq(w, 'gptq'), (parts) => readGptq(parts, { bits: 4, groupSize: 64, format: 'gptq' })],
      [writeAwq(w), (parts) => readAwq(parts, 64)],
      [writeCompressed(w).tensors, (parts) => readCompressed(parts, { bits: 4, symmetric: false })],
      [writeMlx(w), (parts) => readMlx(parts, { bits: 4, groupSize: 64 })],
      [writeBitnet(ternary, 'bitlinear'), (parts) => readBitnet(parts, 'bitlinear')],
    ]
    await fc.assert(fc.asyncProperty(fc.constantFrom(...good), fc.nat(), shapes, fc.boolean(), async ([parts, read], at, shape, drop) => {
      const names = Object.keys(parts)
      const name = names[at % names.length] ?? ''
      const length = shape.reduce((a, b) => a * b, 1)
      const changed: PartTensors = drop ? {} : { [name]: { dtype: 'int32', shape, data: new Int32Array(length).fill(-1) } }
      const broken: PartTensors = { ...Object.fromEntries(Object.entries(parts).filter(([other]) => other !== name)), ...changed }
      const code = await codeOf(() => read(broken))
      if (code !== undefined) expect(['LOWBIT_NOT_FOUND', 'LOWBIT_SHAPE', 'LOWBIT_DTYPE', 'LOWBIT_FORMAT', 'LOWBIT_GROUP_SIZE']).toContain(code)
    }), { numRuns: 200 })
  })
})
