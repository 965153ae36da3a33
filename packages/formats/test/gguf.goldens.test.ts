import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeFloat16, isLowbitError, type QTensor } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { inputFloats, inputTensor, loadGoldens, runGoldens, type GoldenCase, type GoldenHandler, type GoldenResult, type GoldenSet } from '../../../tools/goldens.js'
import type { BlockType } from '../src/gguf/blocks/block-type.js'
import { packForm, type CarrierForm } from '../src/gguf/carry.js'
import {
  BLOCK_TYPES, blocksToQTensor, carryExact, dequantizeBlocks, GGUF_TYPES, memorySource, metadataNumber, openGguf, packExact, quantizeBlocks, readBlocks, writeBlocks, WRITTEN_TYPES, writeGguf,
  type BlockTypeName, type GgufArray, type GgufFile, type GgufValue, type WrittenType,
} from '../src/gguf/index.js'

const isBlockType = (name: unknown): name is BlockTypeName => typeof name === 'string' && Object.hasOwn(BLOCK_TYPES, name)
const blockType = (name: string): BlockType => {
  if (!isBlockType(name)) throw new Error(`no block type ${name}`)
  return BLOCK_TYPES[name]
}
const isWritten = (name: string): name is WrittenType => WRITTEN_TYPES.some((type) => type === name)

/** Every block type through its three readings: values, meaning, and back to the same bytes where the type is written. */
function meaning(type: BlockType, bytes: Uint8Array, rows: number): Float32Array {
  const values = dequantizeBlocks(type, bytes)
  const t = readBlocks(type, [rows, values.length / rows], bytes)
  const { table, minima } = t
  const again = Float32Array.from(t.codes, (code, i) => {
    const g = Math.floor(i / t.group)
    return Math.fround((t.scales[g] ?? NaN) * (table?.[code] ?? code)) + (minima?.[g] ?? 0)
  })
  expect([...again].map(String)).toEqual([...values].map((v) => String(v)))
  return values
}

function bytesIn(golden: GoldenCase, set: GoldenSet, role: Record<string, unknown>): { readonly bytes: Uint8Array; readonly rows: number } {
  const { data, shape } = set.tensor(String(role['bytes']))
  if (!(data instanceof Uint8Array)) throw new Error(`${golden.id}: bytes are not uint8`)
  return { bytes: data, rows: shape[0] ?? 1 }
}

const dequantize: GoldenHandler = (golden, set) => {
  const name = String(golden.params['type'])
  const facts = GGUF_TYPES.find((type) => type.name === name)
  expect({ id: facts?.id, block: facts?.block, bytes: facts?.bytes }).toEqual({ id: golden.params['typeId'], block: golden.params['blockSize'], bytes: golden.params['typeSize'] })
  const { bytes, rows } = bytesIn(golden, set, golden.inputs)
  if (facts !== undefined && 'unread' in facts) {
    // Named by size, refused by name: the file test below holds that they are refused.
    return Object.fromEntries(Object.keys(golden.outputs).map((role) => [role, () => undefined]))
  }
  const y = isBlockType(name) ? meaning(BLOCK_TYPES[name], bytes, rows) : Float32Array.from(halves(bytes, name))
  return { y, 'y-nonfinite': nonfinite(y) }
}

function halves(bytes: Uint8Array, name: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true)
    if (name === 'F16') return decodeFloat16(bits)
    view.setUint32(0, view.getUint32(0))
    return new Float32Array(Uint32Array.of(bits << 16).buffer)[0] ?? NaN
  })
}

/** Where infinities and NaN occur the set keeps their bits apart, as text or numbers: compared as numbers. */
const nonfinite = (y: Float32Array): GoldenResult => (want) => {
  expect(Array.from(y, String)).toEqual(Array.from(want.data as ArrayLike<number>, String))
}

const quantize: GoldenHandler = (golden, set) => {
  const name = String(golden.params['type'])
  if (!isWritten(name)) throw new Error(`${name} is not written`)
  const bytes = quantizeBlocks(name, inputFloats(set, golden, 'x'))
  return { bytes, y: isBlockType(name) ? meaning(BLOCK_TYPES[name], bytes, 1) : Float32Array.from(name === 'F32' ? [] : halves(bytes, name)) }
}

/** The forms of the set by the kind of case, and whether our own choice is the same one. */
const FORMS: Readonly<Record<string, CarrierForm>> = {
  quarter: { multiply: 1, sub: 4, subMin: 4 },
  eighth: { multiply: 1, sub: 8, subMin: 8 },
  'half-min': { multiply: 1, sub: 1, subMin: 2 },
  '2-bit': { multiply: 2, sub: 1, subMin: 1 },
  '2-bit-1.5': { multiply: 2, sub: 1, subMin: 1 },
}
const UNIT: CarrierForm = { multiply: 1, sub: 1, subMin: 1 }

const carrier: GoldenHandler = (golden, set) => {
  const name = golden.params['type']
  if (!isBlockType(name)) throw new Error(`no type ${String(name)}`)
  const codes = inputTensor(set, golden, 'codes')
  const scales = inputTensor(set, golden, 'scale')
  const zeros = inputTensor(set, golden, 'zero')
  if (!(codes.data instanceof Uint8Array) || !(zeros.data instanceof Float32Array)) throw new Error('codes U8, zeros F32')
  const q: QTensor = {
    scheme: { dtype: 'uint8', granularity: { kind: 'group', axis: 1, size: Number(golden.params['group']) }, symmetric: false, zeroPoint: 'float' },
    shape: codes.shape,
    codes: codes.data,
    params: { scales: Float32Array.from(scales.data as ArrayLike<number>, (bits) => decodeFloat16(bits)), zeroPoints: zeros.data, shape: scales.shape },
  }
  const form = FORMS[golden.id.split('/')[2] ?? ''] ?? UNIT
  const bytes = packForm(BLOCK_TYPES[name], form, q)
  if (typeof bytes === 'string') throw new Error(bytes)
  const y = dequantizeBlocks(BLOCK_TYPES[name], bytes)
  // What we choose ourselves may be another form, or a smaller type; its values are the same.
  const widest = Math.max(...codes.data)
  const narrow: QTensor = { ...q, scheme: { ...q.scheme, dtype: widest > 15 ? 'uint8' : widest > 7 ? 'uint4' : widest > 3 ? 'uint3' : 'uint2' } }
  const own = carryExact(narrow)
  if (!('type' in own)) throw new Error(JSON.stringify(own.refused))
  expect(Array.from(dequantizeBlocks(blockType(own.type), own.bytes), (v) => v + 0)).toEqual(Array.from(y, (v) => v + 0))
  expect((blockType(own.type).bytes * 8) / blockType(own.type).block).toBeLessThanOrEqual(Number(golden.params['bitsPerWeight']))
  if (narrow.scheme.dtype !== 'uint8') expect(packExact(name as Parameters<typeof packExact>[0], narrow).length).toBe(bytes.length)
  return { bytes, y }
}

interface ExpectedFile {
  readonly file: string
  readonly size: number
  readonly version: number
  readonly endian: string
  readonly kvCount: number
  readonly kv: readonly { readonly key: string; readonly type: readonly string[]; readonly value: unknown }[]
  readonly tensors: readonly { readonly name: string; readonly type: string; readonly typeId: number; readonly shape: readonly number[]; readonly bytes: number; readonly fileOffset: number }[]
}

const KIND: Readonly<Record<string, string>> = { uint8: 'UINT8', int8: 'INT8', uint16: 'UINT16', int16: 'INT16', uint32: 'UINT32', int32: 'INT32', float32: 'FLOAT32', bool: 'BOOL', string: 'STRING', uint64: 'UINT64', int64: 'INT64', float64: 'FLOAT64' }

function kinds(value: GgufValue): string[] {
  if (value.type !== 'array') return [KIND[value.type] ?? '?']
  if (value.items !== 'array') return ['ARRAY', KIND[value.items] ?? '?']
  const [first] = value.value
  return ['ARRAY', ...(first === undefined ? [] : kinds(first))]
}

const plain = (value: unknown): unknown => {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) || value === 9007199254740992n ? Number(value) : String(value)
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : Number.isFinite(value) ? value : String(value)
  return value
}

function json(value: GgufValue): unknown {
  if (value.type !== 'array') return plain(value.value)
  return value.items === 'array' ? value.value.map((inner: GgufArray) => json(inner)) : Array.from<unknown>(value.value as ArrayLike<unknown>).map(plain)
}

const open = (set: GoldenSet, names: readonly string[]): Promise<GgufFile> => openGguf(names.map((name) => memorySource(new Uint8Array(readFileSync(join(set.folder, name))), name)))

const file: GoldenHandler = async (golden, set) => {
  const { files } = golden.extra['expect'] as { readonly files: readonly ExpectedFile[] }
  const model = await open(set, files.map((f) => f.file))
  const [first] = files
  expect([model.version, model.bigEndian]).toEqual([first?.version, first?.endian === 'big'])
  const wanted = (first?.kv ?? []).filter(({ key }) => !key.startsWith('split.'))
  expect([...model.metadata].map(([key, value]) => ({ key, type: kinds(value), value: json(value) }))).toEqual(wanted.map((entry) => (entry.type.at(-1) === 'FLOAT32' && Array.isArray(entry.value) ? { ...entry, value: entry.value.map((v: unknown) => (typeof v === 'number' ? Math.fround(v) : v)) } : entry)))
  expect([...model.tensors.values()].map(({ name, type, typeId, shape, length, offset, part }) => ({ name, type, typeId, shape, bytes: length, fileOffset: offset, part }))).toEqual(
    files.flatMap((f, part) => f.tensors.map(({ name, type, typeId, shape, bytes, fileOffset }) => ({ name, type, typeId, shape, bytes, fileOffset, part }))),
  )
  const nested = [...model.metadata.values()].some((value) => value.type === 'array' && value.items === 'array')
  if (files.length === 1 && !model.bigEndian && !nested) expect(await rewritten(model, metadataNumber(model.metadata, 'general.alignment') ?? 32)).toEqual(new Uint8Array(readFileSync(join(set.folder, first?.file ?? ''))))
  const results: Record<string, GoldenResult> = {}
  for (const role of Object.keys(golden.outputs)) {
    const name = role.slice(2)
    const type = GGUF_TYPES.find((t) => t.name === model.tensors.get(name)?.type)
    if (type !== undefined && 'unread' in type) {
      await expect(model.floats(name)).rejects.toSatisfy((error) => isLowbitError(error, 'LOWBIT_UNSUPPORTED') && error.message.includes(type.name))
      results[role] = () => undefined
    } else if (type !== undefined && 'plain' in type) {
      const host = await model.host(name)
      results[role] = { ...host, data: host.data }
      if (host.dtype === 'float16' || host.dtype === 'bfloat16') results[role] = await model.floats(name)
    } else results[role] = await model.floats(name)
  }
  return results
}

/** The file that our writer makes of what was read. */
async function rewritten(model: GgufFile, alignment: number): Promise<Uint8Array> {
  const tensors = [...model.tensors.values()].map(({ name, type, shape }) => ({ name, type, shape, data: () => model.bytes(name) }))
  const pieces: number[] = []
  for await (const piece of writeGguf({ metadata: model.metadata, tensors }, { alignment })) for (const byte of piece) pieces.push(byte)
  return Uint8Array.from(pieces)
}

const broken: GoldenHandler = async (golden, set) => {
  await expect(open(set, golden.extra['files'] as string[])).rejects.toSatisfy((error) => isLowbitError(error) && error.code !== 'LOWBIT_INTERNAL')
  return {}
}

const set = loadGoldens('gguf')
const kindOf = (golden: GoldenCase): string => {
  const kind = String(golden.extra['kind'])
  if (kind.startsWith('dequantize-')) return 'dequantize'
  if (kind.startsWith('quantize-c-')) return 'ours'
  if (kind.startsWith('quantize-')) return 'quantize'
  if (kind.startsWith('carrier-')) return 'carrier'
  return kind.startsWith('file-') ? 'file' : kind
}

// The bytes of llama.cpp's own encoders are read exactly and encoded again below.
runGoldens('gguf', { dequantize, quantize, carrier, file, 'broken-file': broken, ours: () => ({}) }, { kindOf })

describe("llama.cpp's own encoders", () => {
  const rmse = (a: Float32Array, b: Float32Array): number => Math.sqrt(a.reduce((sum, v, i) => sum + (v - (b[i] ?? NaN)) ** 2, 0) / a.length)
  for (const golden of set.cases.filter((c) => kindOf(c) === 'ours')) {
    const name = golden.params['type']
    it(golden.id, () => {
      if (!isBlockType(name)) throw new Error(`no type ${String(name)}`)
      const { bytes, rows } = bytesIn(golden, set, golden.outputs)
      const y = set.tensor(String(golden.outputs['y'])).data
      const got = meaning(BLOCK_TYPES[name], bytes, rows)
      expect(Array.from(got, (v) => v + 0)).toEqual(Array.from(y as ArrayLike<number>, (v) => v + 0))
      const type: BlockType = BLOCK_TYPES[name]
      const t = readBlocks(type, [rows, got.length / rows], bytes)
      const q = blocksToQTensor(t)
      expect([q.codes.length, q.params.scales.length]).toEqual([t.codes.length, t.scales.length])
      if (type.write !== undefined) expect(writeBlocks(t)).toEqual(bytes)
      if (isWritten(name)) {
        const x = inputFloats(set, golden, 'x')
        const error = rmse(x, dequantizeBlocks(type, quantizeBlocks(name, x)))
        expect(error).toBeLessThanOrEqual(Number(golden.params['rmse']) * 1.0001)
        if (process.env['LOWBIT_SHOW'] !== undefined) console.log(golden.id, error / Number(golden.params['rmse']))
      }
    })
  }
})
