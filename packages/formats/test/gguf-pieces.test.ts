import { isLowbitError } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { BLOCK_TYPES, memorySource, openGguf, writeGguf, type ByteSource, type GgufFile, type GgufModel } from '../src/gguf/index.js'

/** Files hold no activations. */
const NOT_IN_FILES = new Set(['Q8_1', 'Q8_K'])
const TYPES = Object.values(BLOCK_TYPES).filter(({ name }) => !NOT_IN_FILES.has(name))
const ROWS = 5

async function opened(model: GgufModel, wrap = (source: ByteSource): ByteSource => source): Promise<GgufFile> {
  const pieces: number[] = []
  for await (const piece of writeGguf(model)) for (const byte of piece) pieces.push(byte)
  return openGguf(wrap(memorySource(Uint8Array.from(pieces), 'model.gguf')))
}

/** Reads into the room that it is given, as a file on the disk does; or one byte off, as a view into other bytes may lie. */
const copying = (source: ByteSource): ByteSource => ({ ...source, read: async (offset, length, room = new Uint8Array(length)) => {
  room.set(await source.read(offset, length))
  return room.subarray(0, length)
} })
const shifted = (source: ByteSource): ByteSource => ({ ...source, read: async (offset, length) => {
  const bytes = new Uint8Array(length + 1)
  bytes.set(await source.read(offset, length), 1)
  return bytes.subarray(1)
} })

describe('blocks in pieces', () => {
  it('say what whole tensors say, for every type, from any source', async () => {
    const tensors = TYPES.map(({ name, block, bytes }) => ({ name: `${name}.${block}`, type: name, shape: [ROWS, 2 * block], data: async () => Uint8Array.from({ length: ROWS * 2 * bytes }, (_, i) => (i * 73 + (i >> 5) + 29) & 127) }))
    for (const wrap of [copying, shifted]) {
      const file = await opened({ metadata: new Map(), tensors }, wrap)
      for (const { name, shape: [rows = 0, columns = 0] } of tensors) {
        const whole = await file.blocks(name)
        const groups = columns / whole.group
        for (const each of [1, 2, 9]) {
          let from = 0
          for await (const piece of file.blockPieces(name, each)) {
            const [count = 0] = piece.shape
            expect([...piece.codes], name).toEqual([...whole.codes.subarray(from * columns, (from + count) * columns)])
            expect(piece.scales, name).toEqual(whole.scales.subarray(from * groups, (from + count) * groups))
            expect(piece.minima, name).toEqual(whole.minima?.subarray(from * groups, (from + count) * groups))
            expect([piece.group, piece.table], name).toEqual([whole.group, whole.table])
            from += count
          }
          expect(from).toBe(rows)
        }
        const form = file.blockForm(name)
        expect([form?.group, form?.minima, form?.table?.length], name).toEqual([whole.group, whole.minima !== undefined, whole.table?.length])
        expect(whole.codes.every((code) => code >= (form?.range[0] ?? 0) && code <= (form?.range[1] ?? 0)), name).toBe(true)
      }
    }
  })

  it('keep two tensors apart that are read at the same time', async () => {
    const data = (add: number) => async () => Uint8Array.from({ length: 4 * 18 }, (_, i) => (i * 31 + add) & 127)
    const file = await opened({ metadata: new Map(), tensors: [{ name: 'a', type: 'Q4_0', shape: [4, 32], data: data(1) }, { name: 'b', type: 'Q4_0', shape: [4, 32], data: data(2) }] }, copying)
    const [a, b] = [file.blockPieces('a', 1), file.blockPieces('b', 1)]
    const first = (await a.next()).value
    await b.next()
    expect([...(first as { codes: Int8Array }).codes]).toEqual([...(await file.blocks('a')).codes.subarray(0, 32)])
    await a.return(undefined)
    await b.return(undefined)
  })

  it('are refused for plain tensors and vectors', async () => {
    const file = await opened({ metadata: new Map(), tensors: [{ name: 'f', type: 'F32', shape: [2, 2], data: async () => new Uint8Array(16) }, { name: 'v', type: 'Q8_0', shape: [32], data: async () => new Uint8Array(34) }] })
    expect(file.blockForm('f')).toBeUndefined()
    for (const name of ['f', 'v']) await expect(file.blockPieces(name, 1).next()).rejects.toSatisfy((error: unknown) => isLowbitError(error, 'LOWBIT_DTYPE'))
    await expect(file.blockPieces('none', 1).next()).rejects.toSatisfy((error: unknown) => isLowbitError(error, 'LOWBIT_NOT_FOUND'))
  })
})
