import { isLowbitError } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BLOCK_TYPES, blobSource, blocksToQTensor, carriedScale, carriersOf, carryExact, dequantizeBlocks, filesInMemory, GGUF_TYPES, ggufSize, memorySource, openGguf, openGgufIn, packExact, quantizeBlocks, readBlocks, WRITTEN_TYPES, writeBlocks, writeGguf,
  type ByteSource, type GgufFile, type GgufModel, type GgufValue,
} from '../src/gguf/index.js'
import type { BlockType } from '../src/gguf/blocks/block-type.js'
import { dequantize, uint2, uint4, int4 } from './quantized.js'

async function bytesOf(model: GgufModel, alignment?: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: number[] = []
  for await (const piece of writeGguf(model, alignment === undefined ? {} : { alignment })) for (const byte of piece) pieces.push(byte)
  return Uint8Array.from(pieces)
}

const open = (bytes: Uint8Array<ArrayBuffer>): Promise<GgufFile> => openGguf(memorySource(bytes, 'model.gguf'))
const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 37 + 11) & 255)
const f32 = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
const text = (value: string): GgufValue => ({ type: 'string', value })

async function codeOf(run: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await run()
  } catch (error) {
    return isLowbitError(error) ? error.code : `not ours: ${String(error)}`
  }
  return undefined
}

const small: GgufModel = {
  metadata: new Map<string, GgufValue>([['general.architecture', text('llama')], ['n', { type: 'uint32', value: 7 }], ['tokens', { type: 'array', items: 'string', value: ['a', '\u00e9', ''] }], ['scores', { type: 'array', items: 'float32', value: Float32Array.of(1, -2) }]]),
  tensors: [
    { name: 'a', type: 'F32', shape: [2, 3], data: async () => f32(1, 2, 3, 4, 5, 6) },
    { name: 'b', type: 'Q8_0', shape: [3, 32], data: async () => bytes(3 * 34) },
    { name: 'c', type: 'F16', shape: [5], data: async () => bytes(10) },
  ],
}

describe('writeGguf and openGguf', () => {
  it.each([64_000, 65_520, 65_530, 65_536, 70_000, 300_000])('keep a vocabulary of about %d bytes, which the head outgrows at some place', async (size) => {
    const value = Array.from({ length: Math.floor(size / 11) }, (_, i) => String(i % 1000).padStart(3))
    const file = await open(await bytesOf({ metadata: new Map<string, GgufValue>([['t', { type: 'array', items: 'string', value }], ['after', { type: 'uint32', value: 7 }], ['flags', { type: 'array', items: 'bool', value: [true, false] }]]), tensors: [] }))
    expect(file.metadata.get('t')?.value).toEqual(value)
    expect(file.metadata.get('after')?.value).toBe(7)
  })

  it('gives back what was written, at any alignment, from memory and from a blob', async () => {
    for (const alignment of [8, 32, 64, 4096]) {
      const file = await bytesOf(small, alignment)
      expect(file.length).toBe(ggufSize(small, alignment))
      for (const source of [memorySource(file), blobSource(new Blob([file]))]) {
        const model = await openGguf(source)
        expect(new Map([...model.metadata].filter(([key]) => key !== 'general.alignment'))).toEqual(small.metadata)
        expect([...model.tensors.values()].map(({ name, type, shape }) => [name, type, shape])).toEqual(small.tensors.map(({ name, type, shape }) => [name, type, shape]))
        expect(await model.host('a')).toEqual({ dtype: 'float32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) })
        expect(await model.bytes('b')).toEqual(bytes(3 * 34))
        expect((await model.floats('b', { from: 1, count: 2 })).data).toEqual(dequantizeBlocks(BLOCK_TYPES.Q8_0, bytes(3 * 34).subarray(34)))
        expect((await model.blocks('b', { from: 2, count: 1 })).shape).toEqual([1, 32])
        await model.close()
      }
    }
  })

  it('keeps any metadata', async () => {
    const scalar = fc.oneof(
      fc.record({ type: fc.constant('string' as const), value: fc.string({ unit: 'binary' }) }),
      fc.record({ type: fc.constant('bool' as const), value: fc.boolean() }),
      fc.record({ type: fc.constant('int64' as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
      fc.record({ type: fc.constant('uint64' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
      fc.record({ type: fc.constant('int16' as const), value: fc.integer({ min: -32768, max: 32767 }) }),
      fc.record({ type: fc.constant('float64' as const), value: fc.double() }),
      fc.record({ type: fc.constant('float32' as const), value: fc.float() }),
      fc.record({ type: fc.constant('array' as const), items: fc.constant('string' as const), value: fc.array(fc.string(), { maxLength: 5 }) }),
      fc.record({ type: fc.constant('array' as const), items: fc.constant('int32' as const), value: fc.int32Array({ maxLength: 5 }) }),
    )
    await fc.assert(fc.asyncProperty(fc.dictionary(fc.string({ minLength: 1 }), scalar, { maxKeys: 8 }), async (values) => {
      const metadata = new Map<string, GgufValue>(Object.entries(values).filter(([key]) => !key.startsWith('split.') && key !== 'general.alignment') as [string, GgufValue][])
      const model = await open(await bytesOf({ metadata, tensors: [] }))
      expect(model.metadata).toEqual(metadata)
    }), { numRuns: 25 })
  })

  it('finds the parts of a split model beside the first', async () => {
    const part = (i: number, tensors: GgufModel['tensors']) => bytesOf({ metadata: new Map<string, GgufValue>([['split.no', { type: 'uint16', value: i }], ['split.count', { type: 'uint16', value: 2 }], ['split.tensors.count', { type: 'int32', value: 3 }], ...(i === 0 ? small.metadata : [])]), tensors })
    const files = { 'm-00001-of-00002.gguf': await part(0, small.tensors.slice(0, 1)), 'm-00002-of-00002.gguf': await part(1, small.tensors.slice(1)) }
    const model = await openGgufIn(filesInMemory(files), 'm-00001-of-00002.gguf')
    expect([...model.tensors.values()].map(({ name, part: number }) => [name, number])).toEqual([['a', 0], ['b', 1], ['c', 1]])
    expect(await model.bytes('b')).toEqual(bytes(3 * 34))
    expect(model.metadata).toEqual(small.metadata)
    expect(await codeOf(() => openGgufIn(filesInMemory({ 'm-00001-of-00002.gguf': files['m-00001-of-00002.gguf'] }), 'm-00001-of-00002.gguf'))).toBe('LOWBIT_NOT_FOUND')
    expect(await codeOf(() => openGguf([memorySource(files['m-00001-of-00002.gguf'])]))).toBe('LOWBIT_FORMAT')
    expect(await codeOf(() => openGguf([memorySource(files['m-00001-of-00002.gguf']), memorySource(files['m-00001-of-00002.gguf'])]))).toBe('LOWBIT_FORMAT')
  })

  it('reads past 4 GiB by position, and nothing else of such a file', async () => {
    const rows = 1 << 16
    const width = 1 << 15
    const head = (await bytesOfHead({ metadata: new Map(), tensors: [{ name: 'big', type: 'F16', shape: [rows, width], data: async () => new Uint8Array() }, { name: 'last', type: 'F32', shape: [2], data: async () => new Uint8Array() }] }))
    const reads: number[] = []
    const source: ByteSource = {
      name: 'large', size: head.length + rows * width * 2 + 32,
      async read(offset, length) {
        reads.push(length)
        const out = new Uint8Array(length)
        out.set(head.subarray(offset, offset + length))
        if (offset > 2 ** 32) out.fill(1)
        return out
      },
      close: async () => undefined,
    }
    const model = await openGguf(source)
    expect(model.tensors.get('last')?.offset).toBeGreaterThan(2 ** 32)
    expect(new Uint8Array((await model.host('last')).data.buffer)).toEqual(new Uint8Array(8).fill(1))
    expect((await model.floats('big', { from: rows - 1, count: 1 })).data).toHaveLength(width)
    expect(Math.max(...reads)).toBeLessThanOrEqual(1 << 20)
  })

  it('tells blocks of 128 from blocks of 64 under one type number', async () => {
    const file = await bytesOf({ metadata: new Map(), tensors: [{ name: 'q', type: 'Q2_0', shape: [4, 1024], data: async () => bytes(4 * 16 * 18) }] })
    expect((await open(file)).tensors.get('q')?.length).toBe(4 * 16 * 18)
    const wide = file.slice(0, file.length - 4 * 16 * 18 + 4 * 8 * 34)
    const model = await open(wide)
    expect(model.tensors.get('q')?.length).toBe(4 * 8 * 34)
    expect((await model.blocks('q')).group).toBe(128)
  })

  it.each([
    ['an unknown type', { tensors: [{ name: 'x', type: 'Q9_K', shape: [256], data: async () => bytes(1) }] }, 'LOWBIT_UNSUPPORTED'],
    ['rows that are no whole blocks', { tensors: [{ name: 'x', type: 'Q4_K', shape: [2, 128], data: async () => bytes(144) }] }, 'LOWBIT_SHAPE'],
    ['a name twice', { tensors: [small.tensors[0], small.tensors[0]] }, 'LOWBIT_ARGUMENT'],
    ['too few bytes', { tensors: [{ name: 'x', type: 'F32', shape: [2], data: async () => bytes(4) }] }, 'LOWBIT_SHAPE'],
    ['too many bytes', { tensors: [{ name: 'x', type: 'F32', shape: [2], data: async () => bytes(400) }] }, 'LOWBIT_SHAPE'],
    ['nested lists', { metadata: new Map([['x', { type: 'array', items: 'array', value: [] }]]) }, 'LOWBIT_UNSUPPORTED'],
  ] as [string, Partial<GgufModel>, string][])('refuses to write %s', async (_, changes, code) => {
    expect(await codeOf(() => bytesOf({ metadata: new Map(), tensors: [], ...changes }))).toBe(code)
  })
})

async function bytesOfHead(model: GgufModel): Promise<Uint8Array<ArrayBuffer>> {
  for await (const piece of writeGguf(model)) return piece.slice()
  throw new Error('nothing written')
}

describe('a hostile file', () => {
  it('is refused at every length', async () => {
    const file = await bytesOf(small)
    const whole = await open(file)
    const end = Math.max(...[...whole.tensors.values()].map((t) => t.offset + t.length))
    for (let length = 0; length < end; length++) expect(await codeOf(() => open(file.slice(0, length)))).toBe('LOWBIT_FORMAT')
  })

  it('opens or is refused by name whatever bytes change, and claims no memory', async () => {
    const file = await bytesOf(small)
    const real = await open(file)
    const header = Math.min(...[...real.tensors.values()].map((t) => t.offset))
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(header - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }), async (changes) => {
      const broken = file.slice()
      for (const [at, value] of changes) broken[at] = value
      const code = await codeOf(async () => {
        const model = await open(broken)
        for (const [name, { type, length }] of model.tensors) {
          expect(length).toBeLessThanOrEqual(file.length)
          if (!type.startsWith('IQ1') && !type.startsWith('IQ2') && !type.startsWith('IQ3')) await model.floats(name)
        }
      })
      if (code !== undefined) expect(['LOWBIT_FORMAT', 'LOWBIT_SHAPE', 'LOWBIT_LIMIT', 'LOWBIT_UNSUPPORTED']).toContain(code)
    }), { numRuns: 300 })
  })

  it.each([
    ['tensors that overlap', (view: DataView, at: number) => view.setBigUint64(at + 8, 0n, true), 'LOWBIT_FORMAT'],
    ['an offset that is not aligned', (view: DataView, at: number) => view.setBigUint64(at + 8, 33n, true), 'LOWBIT_FORMAT'],
    ['a type that nobody knows', (view: DataView, at: number) => view.setUint32(at + 4, 999, true), 'LOWBIT_UNSUPPORTED'],
  ])('is refused for %s', async (_, change, code) => {
    const file = await bytesOf(small)
    // The record of tensor 'b': its name of one letter stands behind the length.
    const name = file.findIndex((_, i) => file[i] === 1 && file.slice(i + 1, i + 8).every((b) => b === 0) && file[i + 8] === 'b'.charCodeAt(0))
    change(new DataView(file.buffer), name + 9 + 4 + 16 - 4)
    expect(await codeOf(() => open(file))).toBe(code)
  })
})

describe('quantizeBlocks', () => {
  const blockTypes = WRITTEN_TYPES.filter((name) => !['F32', 'F16', 'BF16'].includes(name))

  it.each(blockTypes)('%s keeps zeros, and refuses what no block can hold', (name) => {
    const type: BlockType = Object.values<BlockType>(BLOCK_TYPES).find((t) => t.name === name) as BlockType
    const values = dequantizeBlocks(type, quantizeBlocks(name, new Float32Array(512)))
    expect(values.every((v) => Math.abs(v) < 1e-30)).toBe(true)
    expect(() => quantizeBlocks(name, new Float32Array(33))).toThrow('whole blocks')
    expect(() => quantizeBlocks(name, new Float32Array(512).fill(NaN))).toThrow('LOWBIT_NONFINITE')
  })

  it('never does worse with more bits', () => {
    const x = Float32Array.from({ length: 2048 }, (_, i) => Math.sin(i * 12.9898) * 0.7 + Math.cos(i * 78.233) * 0.3)
    const error = (name: (typeof blockTypes)[number]): number => {
      const type: BlockType = Object.values<BlockType>(BLOCK_TYPES).find((t) => t.name === name) as BlockType
      return dequantizeBlocks(type, quantizeBlocks(name, x)).reduce((sum, v, i) => sum + (v - (x[i] ?? 0)) ** 2, 0)
    }
    const errors = (['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_0'] as const).map(error)
    errors.reduce((before, after) => {
      expect(after).toBeLessThan(before / 2)
      return after
    })
  })

  it('finds scales for any finite values', () => {
    fc.assert(fc.property(fc.constantFrom(...blockTypes), fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), { minLength: 256, maxLength: 256 }), (name, list) => {
      const type: BlockType = Object.values<BlockType>(BLOCK_TYPES).find((t) => t.name === name) as BlockType
      const x = Float32Array.from(list)
      const values = dequantizeBlocks(type, quantizeBlocks(name, x))
      const most = x.reduce((a, v) => Math.max(a, Math.abs(v)), 0)
      expect(values.every((v) => Number.isFinite(v) && Math.abs(v) <= 2 * most + 1e-6)).toBe(true)
    }), { numRuns: 60 })
  })
})

describe('codes carried exactly', () => {
  const half = (i: number): number => 0.0078125 * (1 + (i % 7))

  it('says which types hold a scheme, smallest first, and why others do not', () => {
    const fitting = (scheme: Parameters<typeof carriersOf>[0], shape: readonly number[]): string[] => carriersOf(scheme, shape).filter((c) => c.refuses === undefined).map((c) => c.type)
    expect(fitting(int4(32).scheme, [4, 576])).toEqual(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0'])
    expect(fitting(uint4(32).scheme, [4, 576])).toEqual(['Q4_1', 'Q5_0', 'Q5_1', 'Q8_0'])
    expect(fitting(uint4(256).scheme, [4, 512])).toEqual(['Q4_K', 'Q4_1', 'Q5_0', 'Q5_K', 'Q5_1', 'Q6_K', 'Q8_0'])
    expect(fitting(uint2(256).scheme, [4, 512])[0]).toBe('Q2_K')
    expect(carriersOf(uint4(32).scheme, [4, 576]).find((c) => c.type === 'Q4_K')?.refuses).toContain('256')
    expect(carriersOf(uint4(48).scheme, [4, 576]).every((c) => c.refuses !== undefined)).toBe(true)
  })

  it('means the same afterwards', () => {
    for (const q of [int4(32, half), uint4(32, half), uint4(256, half), uint2(256, half)]) {
      const packed = carryExact(q)
      if (!('type' in packed)) throw new Error(JSON.stringify(packed.refused))
      const type: BlockType = BLOCK_TYPES[packed.type]
      expect(Array.from(dequantizeBlocks(type, packed.bytes), (v) => v + 0)).toEqual(Array.from(dequantize(q), (v) => v + 0))
    }
  })

  it('refuses scales that are no float16 values', () => {
    expect(() => packExact('Q4_0', int4(32, () => 0.1))).toThrow('float16')
    expect(() => packExact('Q4_0', uint4(32, half))).toThrow('zero point')
    expect(() => packExact('Q2_K', uint4(256, half))).toThrow('code')
  })

  it('finds scales that Q4_1 carries with any zero point', () => {
    fc.assert(fc.property(fc.double({ min: 1e-3, max: 100, noNaN: true }), (s) => {
      const scale = carriedScale('Q4_1', s, 4)
      expect(Math.abs(scale - s)).toBeLessThanOrEqual(s / 127)
      expect(() => packExact('Q4_1', uint4(32, () => scale))).not.toThrow()
    }))
  })
})

describe('blocksToQTensor', () => {
  it('keeps a group whose scale is 0 and whose minimum is not', async () => {
    const block = new Uint8Array(20)
    block.set([0, 0, 0, 0xc0, ...bytes(16)])
    const file = await open(await bytesOf({ metadata: new Map(), tensors: [{ name: 'x', type: 'Q4_1', shape: [1, 32], data: async () => block }] }))
    const q = blocksToQTensor(await file.blocks('x'))
    expect([...dequantize(q)]).toEqual(new Array<number>(32).fill(-2))
  })

  /** A row of two blocks of any bytes whose float16 numbers are finite. */
  const blocksOf = (type: BlockType): fc.Arbitrary<Uint8Array<ArrayBuffer>> =>
    fc.uint8Array({ minLength: 2 * type.bytes, maxLength: 2 * type.bytes }).map((drawn) => {
      const row = Uint8Array.from(drawn)
      const at = type.name === 'Q5_0' ? [0] : type.name === 'Q5_1' ? [0, 2] : (type.halves ?? [])
      for (const start of [0, type.bytes]) for (const half of at) row[start + half + 1] = (row[start + half + 1] ?? 0) & 0xbb
      // Exponents near 127, far from the ends of float32, for MXFP4; a float32 scale for Q8_K.
      if (type.name === 'MXFP4') for (const start of [0, type.bytes]) row[start] = 100 + ((row[start] ?? 0) % 50)
      if (type.name === 'Q8_K') for (const start of [0, type.bytes]) row[start + 3] = 0x3c
      return row
    })

  const named = GGUF_TYPES.flatMap((type): [string, BlockType][] => ('blocks' in type ? [[type.name, type.blocks]] : []))

  it.each(named)('means what the blocks mean: %s', (_, type) => {
    fc.assert(fc.property(blocksOf(type), (row) => {
      const t = readBlocks(type, [1, 2 * type.block], row)
      const values = dequantizeBlocks(type, row)
      const q = dequantize(blocksToQTensor(t))
      q.forEach((value, i) => {
        const minimum = t.minima?.[Math.floor(i / t.group)] ?? 0
        // One rounding of the zero point, at most 2^-24 of it, and those of the product.
        expect(Math.abs(value - (values[i] ?? NaN))).toBeLessThanOrEqual(2 ** -22 * (Math.abs(minimum) + Math.abs(values[i] ?? 0)))
      })
    }), { numRuns: 20 })
  })

  // TQ1_0 has several bytes for the same five trits.
  it.each(named.filter(([name, { write }]) => write !== undefined && name !== 'TQ1_0'))('writes the bytes it read: %s', (_, type) => {
    fc.assert(fc.property(blocksOf(type), (row) => {
      expect(writeBlocks(readBlocks(type, [1, 2 * type.block], row))).toEqual(row)
    }), { numRuns: 20 })
  })
})
