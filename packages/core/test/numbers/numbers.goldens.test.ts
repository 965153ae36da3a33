import { expect } from 'vitest'
import * as core from '../../src/numbers/index.js'
import { exactly, goldenNumbers, inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenSet, type GoldenTensor } from '../../../../tools/goldens.js'

/** ml_dtypes names → our formats. */
const FORMATS: Record<string, core.SmallFloat | undefined> = {
  float16: core.FLOAT16,
  bfloat16: core.BFLOAT16,
  float8_e4m3fn: core.FLOAT8_E4M3FN,
  float8_e5m2: core.FLOAT8_E5M2,
  float8_e4m3fnuz: core.FLOAT8_E4M3FNUZ,
  float8_e5m2fnuz: core.FLOAT8_E5M2FNUZ,
  float6_e2m3fn: core.FLOAT6_E2M3FN,
  float6_e3m2fn: core.FLOAT6_E3M2FN,
  float4_e2m1fn: core.FLOAT4_E2M1FN,
}

function codec(golden: GoldenCase): { encode: (x: number) => number; decode: (code: number) => number } {
  const type = String(golden.params['type'])
  if (type === 'float8_e8m0fnu') return { encode: core.encodeE8m0, decode: core.decodeE8m0 }
  const format = FORMATS[type]
  if (format === undefined) throw new Error(`no format ${type}`)
  return { encode: (x) => core.encodeSmallFloat(format, x), decode: (code) => core.decodeSmallFloat(format, code) }
}

function round(golden: GoldenCase, set: GoldenSet) {
  const { encode, decode } = codec(golden)
  const x = inputFloats(set, golden, 'x')
  const bits = Array.from(x, encode)
  const want = goldenNumbers(set.tensor(golden.outputs['back'] ?? ''))
  const hasNaN = Number.isNaN(decode(encode(NaN)))
  const back = Array.from(bits, (code, i) => (!hasNaN && Number.isNaN(x[i]) ? (want[i] ?? 0) : Math.fround(decode(code))))
  const fast = golden.params['type'] === 'float16' ? core.encodeFloat16 : golden.params['type'] === 'bfloat16' ? core.encodeBfloat16 : undefined
  if (fast !== undefined) expect(Array.from(x, (value) => (Number.isNaN(value) ? 0 : fast(value)))).toEqual(bits.map((code, i) => (Number.isNaN(x[i]) ? 0 : code)))
  return {
    back: exactly(back),
    bits: (tensor: GoldenTensor) => {
      // A NaN of a type without one has no right answer.
      const free = (i: number) => Number.isNaN(want[i]) || (!hasNaN && Number.isNaN(x[i]))
      exactly(bits.map((code, i) => (free(i) ? Number(tensor.data[i]) : code)))(tensor)
    },
  }
}

function decode(golden: GoldenCase, set: GoldenSet) {
  const { decode: value } = codec(golden)
  return { f32: Array.from(goldenNumbers(inputTensor(set, golden, 'bits')), (code) => Math.fround(value(code))) }
}

function book(golden: GoldenCase) {
  if (golden.id.endsWith('nf4')) return { codebook: core.NF4 }
  if (golden.id.endsWith('fp4')) return { codebook: core.FP4 }
  return { codebook: core.dynamicMap() }
}

function quantize(golden: GoldenCase, set: GoldenSet) {
  const type = golden.params['type'] === 'nf4' ? 'nf4' : 'fp4'
  const blockSize = Number(golden.params['blockSize'])
  const x = inputFloats(set, golden, 'x')
  const q = core.quantizeBlockwise(x, type, blockSize)
  const values = type === 'nf4' ? core.NF4 : core.FP4
  const sameCode = (got: number, want: number, i: number) => {
    if (got === want || values[got] === values[want]) return
    const scaled = (x[i] ?? 0) / (q.absmax[Math.floor(i / blockSize)] ?? 1)
    expect(Math.abs(scaled - ((values[got] ?? 0) + (values[want] ?? 0)) / 2), `code ${i}`).toBeLessThan(1e-6)
  }
  return {
    absmax: q.absmax,
    dequantized: core.dequantizeBlockwise(q, type, blockSize),
    codes: (want: GoldenTensor) => q.codes.forEach((code, i) => sameCode(code, Number(want.data[i]), i)),
    packed: (want: GoldenTensor) => {
      const packed = core.packHighNibbleFirst(q.codes, core.nearestCode(core.codebook(values), 0))
      expect(packed.length).toBe(want.data.length)
      packed.forEach((byte, i) => {
        sameCode(byte >> 4, Number(want.data[i]) >> 4, 2 * i)
        sameCode(byte & 15, Number(want.data[i]) & 15, 2 * i + 1)
      })
    },
  }
}

function doubleQuantization(golden: GoldenCase, set: GoldenSet) {
  const nested = Number(golden.params['nestedBlockSize'])
  const absmax = inputFloats(set, golden, 'absmax')
  const q = core.doubleQuantize(absmax, nested)
  const map = core.dynamicMap()
  const output = (role: string) => goldenNumbers(set.tensor(golden.outputs[role] ?? ''))
  // The library's own codes are off the nearest entry in a few places: restoring is tested on what it stored.
  const theirs = Uint8Array.from(output('codes'))
  const stored = { offset: output('offset')[0] ?? NaN, codes: theirs, absmax: Float32Array.from(output('nestedAbsmax')) }
  return {
    offset: [q.offset],
    nestedAbsmax: q.absmax,
    restored: core.restoreDoubleQuantized(stored, nested),
    codes: () => q.codes.forEach((code, i) => {
      const other = theirs[i] ?? 0
      if (code === other) return
      expect(Math.abs(code - other)).toBe(1)
      const [low, high] = [map[Math.min(code, other)] ?? 0, map[Math.max(code, other)] ?? 0]
      const value = ((absmax[i] ?? 0) - q.offset) / (q.absmax[Math.floor(i / nested)] ?? 1)
      expect(Math.abs(value - (low + high) / 2)).toBeLessThanOrEqual(0.05 * (high - low))
    }),
  }
}

function mx(golden: GoldenCase, set: GoldenSet) {
  const type = String(golden.params['type'])
  if (!Object.hasOwn(core.MX_FORMATS, type)) throw new Error(`no MX format ${type}`)
  const format = type as core.MxFormat
  const q = core.quantizeMx(inputFloats(set, golden, 'x'), format)
  return {
    scales: q.scales,
    dequantized: exactly(core.dequantizeMx(q, format)),
    codes: (want: GoldenTensor) => {
      const signed = want.dtype === 'int8'
      exactly(Array.from(q.codes, (code, i) => (q.scales[Math.floor(i / core.MX_BLOCK)] === core.E8M0_NAN ? Number(want.data[i]) : signed ? (code << 24) >> 24 : code)))(want)
    },
  }
}

runGoldens('numbers', { round, decode, codebook: book, quantize, 'double-quantization': doubleQuantization, mx }, { kindOf: (golden) => golden.id.split('/')[0] ?? '' })
