import { gptq } from '@lowbit/algos-gptq'
import { int4, int8, quantize, type QuantizeOptions, rtn, uint4 } from '@lowbit/core'
import { readOnnx, tensorBytes, tensorsOf } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { compareModels, openOnnx } from '../src/index.js'
import { pictures, sequences, type SweepType } from './support/sweep-models.js'

interface Mode {
  readonly options: Partial<QuantizeOptions>
  readonly calibrated?: boolean
  readonly prepared?: boolean
  /** Output signal over noise that any of these models keeps, dB. */
  readonly least: number
}

const plain = { dtype: 'uint8', method: 'minmax', rescue: false } as const

/** Every way to store a model. */
const MODES: Readonly<Record<string, Mode>> = {
  'dequantize int8': { options: { format: 'dequantize', weights: int8() }, least: 30 },
  'dequantize int4, groups': { options: { format: 'dequantize', weights: int4({ group: 16 }) }, least: 12 },
  'dequantize uint4, expanded at load': { options: { format: 'dequantize', weights: uint4({ group: 32 }), settings: { expand: 'load' } }, least: 12 },
  'matmul-nbits int4': { options: { format: 'matmul-nbits', weights: int4({ group: 16 }) }, least: 12 },
  'matmul-nbits int8': { options: { format: 'matmul-nbits', weights: int8({ group: 32 }) }, least: 30 },
  'matmul-nbits uint4, zero points': { options: { format: 'matmul-nbits', weights: uint4({ group: 32 }) }, least: 12 },
  'GPTQ': { options: { format: 'matmul-nbits', weights: int4({ group: 16 }), rounding: gptq() }, calibrated: true, least: 12 },
  'dynamic uint8': { options: { format: 'dynamic', weights: int8() }, least: 25 },
  'dynamic int8': { options: { format: 'dynamic', weights: int8({ reduceRange: true }), settings: { weightStorage: 'int8' } }, least: 22 },
  'static QDQ': { options: { format: 'qdq', weights: int8(), activations: plain }, calibrated: true, prepared: true, least: 20 },
  'static QDQ, all operators, not prepared': { options: { format: 'qdq', weights: int8(), activations: { ...plain, operators: 'all' } }, calibrated: true, least: 20 },
  'static QDQ, 16-bit activations': { options: { format: 'qdq', weights: int8({ reduceRange: true }), activations: { ...plain, dtype: 'uint16' }, settings: { weightStorage: 'int8' } }, calibrated: true, prepared: true, least: 20 },
  'static integer operators': { options: { format: 'qoperator', weights: int8(), activations: plain }, calibrated: true, prepared: true, least: 20 },
}

const OPSETS = Array.from({ length: 17 }, (_, i) => i + 7)

const largeFloats = (bytes: Uint8Array): number => [...tensorsOf(readOnnx(bytes))].reduce((sum, t) => sum + ([1, 10].includes(t.dataType) && tensorBytes(t) >= 1024 && t.dims.length > 1 ? tensorBytes(t) : 0), 0)

/** float16 on both sides of what changed: attributes became inputs with 10 to 13, DequantizeLinear took float16 and groups with 19 and 21. */
const CASES = OPSETS.flatMap((opset) => (['float32', ...(opset === 9 || opset === 21 ? (['float16'] as const) : [])] as const).map((type) => [opset, type] as const))

describe.each(CASES)('opset %d, %s', (opset, type: SweepType) => {
  const models = [sequences(opset, type), pictures(opset, type)]

  // Each mode sees both models, in every other opset.
  it.each(Object.entries(MODES).map(([name, mode], i) => [name, mode, models.slice((opset + i) % 2, ((opset + i) % 2) + 1)] as const))('%s: everything is quantized, smaller, loads, and computes nearly the same', async (_, { options, calibrated = false, prepared = false, least }, chosen) => {
    for (const { bytes, batches } of type === 'float16' ? models : chosen) {
      const [float, host] = [await openOnnx(bytes), await openOnnx(bytes, { prepare: prepared })]
      const { artifact, report } = await quantize(host, { weights: int8(), rounding: rtn(), ...options, ...(calibrated ? { calibration: batches } : {}) })
      expect(report.sites.filter((s) => s.status !== 'quantized')).toEqual([])
      expect(report.sites.length).toBeGreaterThan(4)
      expect(artifact.size).toBeLessThan(0.75 * bytes.length)
      expect(largeFloats(artifact.bytes())).toBeLessThan(0.2 * largeFloats(bytes))
      const small = await openOnnx(artifact.bytes())
      const { outputs } = await compareModels(float, small, batches, { latency: false, saturation: false })
      for (const output of outputs) expect(output.sqnr, output.name).toBeGreaterThan(least)
      for (const h of [float, host, small]) await h.dispose()
    }
  })
})
