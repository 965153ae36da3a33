import { open, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError, type HostTensor } from '@lowbit/core'
import { blobSource, memorySource, openArrays, readNpz, writeNpy, writeNpz, writeSafetensors, type ByteSource } from '@lowbit/formats'
import { openArrayFile } from '@lowbit/formats/node'
import fc from 'fast-check'
import { zipSync, type AsyncZippable, type Zippable } from 'fflate'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mutate } from './tensor-files.js'

const floats = (shape: readonly number[], of = (i: number): number => Math.sin(i)): HostTensor<'float32'> => ({ dtype: 'float32', shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => of(i)) })
const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'fine', (error: unknown) => (isLowbitError(error) ? error.code : String(error)))

/** A source that counts what is read of it. */
function counted(bytes: Uint8Array<ArrayBuffer>): { readonly source: ByteSource; readonly read: () => number } {
  const source = memorySource(bytes, 'data.npz')
  let read = 0
  return { source: { ...source, read: (offset, length) => ((read += length), source.read(offset, length)) }, read: () => read }
}

describe('files of arrays', () => {
  const tensors = { x: floats([50, 7, 3]), y: { dtype: 'int64', shape: [50], data: BigInt64Array.from({ length: 50 }, (_, i) => BigInt(i)) } } as const

  it.each([
    ['stored', '.npz', writeNpz(tensors)],
    ['compressed', '.npz', writeNpz(tensors, { compress: true })],
    ['safetensors', '.safetensors', writeSafetensors(tensors)],
  ] as const)('%s give any rows, in any order, as the whole has them', async (_, kind, bytes) => {
    for (const source of [memorySource(bytes), blobSource(new Blob([bytes]))]) {
      await using file = await openArrays(source, kind)
      expect([...file.names].sort()).toEqual(['x', 'y'])
      expect(await file.info('x')).toEqual({ dtype: 'float32', shape: [50, 7, 3] })
      expect((await file.read('x')).data).toEqual(tensors.x.data)
      await fc.assert(
        fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('x', 'y'), fc.nat(50), fc.nat(50)), { minLength: 1, maxLength: 6 }), async (asked) => {
          // At once: reads of one stream must not mix.
          await Promise.all(asked.map(async ([name, a, b]) => {
            const [from, to] = [Math.min(a, b), Math.max(a, b)]
            const step = name === 'x' ? 21 : 1
            const { data, shape } = await file.rows(name, from, to)
            expect(shape[0]).toBe(to - from)
            expect(data).toEqual((name === 'x' ? tensors.x : tensors.y).data.slice(from * step, to * step))
          }))
        }),
        { numRuns: 40 },
      )
      expect(await code(file.rows('x', 40, 51))).toBe('LOWBIT_SHAPE')
      expect(await code(file.rows('z', 0, 1))).toBe('LOWBIT_NOT_FOUND')
    }
  })

  it('in an archive cost what is asked for, however many there are', async () => {
    const many: Zippable = { 'x.npy': writeNpy(floats([4, 16])) }
    for (let i = 0; i < 20_000; i++) many[`e${i}.npy`] = writeNpy(floats([1, 1]))
    const bytes = zipSync(many, { level: 0 })
    const { source, read } = counted(new Uint8Array(bytes))
    const start = performance.now()
    const file = await openArrays(source, '.npz')
    expect(file.names.length).toBe(20_001)
    const directory = read()
    await file.rows('x', 1, 2)
    expect(read() - directory).toBeLessThan(1000)
    const inMemory = readNpz(new Uint8Array(bytes))
    for (const name of inMemory.names.slice(-3000)) inMemory.read(name)
    // Quadratic, it takes minutes.
    expect(performance.now() - start).toBeLessThan(10_000)
  })

  it('that would inflate to gigabytes are inflated as far as asked', async () => {
    const zeros: AsyncZippable = {}
    void zeros
    const big = zipSync({ 'x.npy': writeNpy(floats([4, 16])), 'bomb.npy': writeNpy({ dtype: 'uint8', shape: [1 << 26, 1], data: new Uint8Array(1 << 26) }) }, { level: 9 })
    const { source, read } = counted(new Uint8Array(big))
    const file = await openArrays(source, '.npz')
    const before = read()
    expect((await file.rows('x', 0, 4)).data).toEqual(floats([4, 16]).data)
    expect((await file.rows('bomb', 100, 103)).data).toEqual(new Uint8Array(3))
    expect(read() - before).toBeLessThan(40_000)
  })

  it('that are damaged never end in anything but a LowbitError', async () => {
    const packed = writeNpz(tensors, { compress: true })
    const seen: Promise<unknown>[] = []
    const readAll = async (bytes: Uint8Array): Promise<void> => {
      try {
        const file = await openArrays(memorySource(new Uint8Array(bytes)), '.npz')
        for (const name of file.names) await file.rows(name, 0, 1)
        for (const name of file.names) await file.read(name)
      } catch (error) {
        if (!isLowbitError(error)) throw error
      }
    }
    mutate(packed, (bytes) => void seen.push(readAll(bytes.slice())))
    await Promise.all(seen)
    for (let length = 0; length < packed.length; length += 7) expect(await code(openArrays(memorySource(packed.slice(0, length)), '.npz'))).not.toBe('fine')
  })
})

describe('files of arrays on the disk', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  /** A file of 4 GiB with holes, which takes no room: numbers at its end. */
  async function sparse(path: string, head: Uint8Array, size: number, tail: Uint8Array): Promise<void> {
    const handle = await open(path, 'w')
    await handle.write(head, 0, head.length, 0)
    await handle.write(tail, 0, tail.length, size - tail.length)
    await handle.close()
  }

  it('may be larger than 4 GiB', async () => {
    const rows = 2 ** 26 + 5
    const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, 16), }`.padEnd(117, ' ') + '\n'
    const head = new Uint8Array([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, 118, 0, ...new TextEncoder().encode(text)])
    await sparse(join(folder, 'big.npy'), head, 128 + rows * 64, new Uint8Array(floats([16]).data.buffer))
    await using file = await openArrayFile(join(folder, 'big.npy'))
    expect(await file.info('big')).toEqual({ dtype: 'float32', shape: [rows, 16] })
    expect((await file.rows('big', rows - 1, rows)).data).toEqual(floats([16]).data)
    expect((await file.rows('big', 5, 6)).data).toEqual(new Float32Array(16))
  })

  it('may be archives past 4 GiB, with 64-bit sizes', async () => {
    const rows = 2 ** 26 + 5
    const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, 16), }`.padEnd(117, ' ') + '\n'
    const npyHead = new Uint8Array([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, 118, 0, ...new TextEncoder().encode(text)])
    const size = 128 + rows * 64
    const u = (bytes: number, value: number): number[] => Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256)
    const extra = [1, 0, 16, 0, ...u(8, size), ...u(8, size)]
    const name = [...new TextEncoder().encode('x.npy')]
    const local = [0x50, 0x4b, 3, 4, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...u(4, 0), ...u(4, 0xffffffff), ...u(4, 0xffffffff), ...u(2, name.length), ...u(2, extra.length), ...name, ...extra]
    const central = [0x50, 0x4b, 1, 2, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...u(4, 0), ...u(4, 0xffffffff), ...u(4, 0xffffffff), ...u(2, name.length), ...u(2, extra.length), ...u(2, 0), ...u(2, 0), ...u(2, 0), ...u(4, 0), ...u(4, 0), ...name, ...extra]
    const at = local.length + size
    const end64 = [0x50, 0x4b, 6, 6, ...u(8, 44), 45, 0, 45, 0, ...u(4, 0), ...u(4, 0), ...u(8, 1), ...u(8, 1), ...u(8, central.length), ...u(8, at)]
    const locator = [0x50, 0x4b, 6, 7, ...u(4, 0), ...u(8, at + central.length), ...u(4, 1)]
    const end = [0x50, 0x4b, 5, 6, ...u(2, 0), ...u(2, 0), ...u(2, 1), ...u(2, 1), ...u(4, central.length), ...u(4, 0xffffffff), ...u(2, 0)]
    const tail = Uint8Array.from([...new Uint8Array(floats([16]).data.buffer), ...central, ...end64, ...locator, ...end])
    await sparse(join(folder, 'big.npz'), Uint8Array.from([...local, ...npyHead]), at + tail.length - 64, tail)
    await using file = await openArrayFile(join(folder, 'big.npz'))
    expect(await file.info('x')).toEqual({ dtype: 'float32', shape: [rows, 16] })
    expect((await file.rows('x', rows - 1, rows)).data).toEqual(floats([16]).data)
  })

  it('of another kind are refused', async () => {
    await writeFile(join(folder, 'a.txt'), '')
    expect(await code(openArrayFile(join(folder, 'a.txt')))).toBe('LOWBIT_DATA')
    await writeFile(join(folder, 'a.npz'), '')
    expect(await code(openArrayFile(join(folder, 'a.npz')))).toBe('LOWBIT_FORMAT')
    const hole = await open(join(folder, 'hole.npz'), 'w')
    await hole.truncate(3 * 2 ** 30)
    await hole.close()
    expect(await code(openArrayFile(join(folder, 'hole.npz')))).toBe('LOWBIT_FORMAT')
  })
})
