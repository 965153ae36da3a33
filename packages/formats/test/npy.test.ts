import { bytesPerElement, type HostTensor } from '@lowbit/core'
import { readNpy, readNpz, writeNpy, writeNpz } from '@lowbit/formats'
import { zipSync } from 'fflate'
import { describe, expect, it } from 'vitest'
import { mutate, TENSORS } from './tensor-files.js'

/** A file as numpy writes it, built by hand. */
function npy(header: string, data: Uint8Array, version = 1): Uint8Array {
  const text = new TextEncoder().encode(header)
  const size = version === 1 ? [text.length & 255, text.length >> 8] : [text.length & 255, text.length >> 8, 0, 0]
  return new Uint8Array([0x93, ...new TextEncoder().encode('NUMPY'), version, 0, ...size, ...text, ...data])
}
const header = (descr: string, shape: string, fortran = 'False'): string => `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`

describe('npy', () => {
  it.each(Object.entries(TENSORS))('%s comes back the same, its data at a multiple of 64', (_, t) => {
    const bytes = writeNpy(t)
    expect(readNpy(bytes)).toEqual(t)
    expect((bytes.length - t.data.length * bytesPerElement(t.dtype)) % 64).toBe(0)
  })

  it('reads Fortran order, big endian and later versions', () => {
    const columnMajor = new Uint8Array(Float32Array.of(1, 4, 2, 5, 3, 6).buffer)
    expect([...readNpy(npy(header('<f4', '(2, 3)', 'True'), columnMajor)).data]).toEqual([1, 2, 3, 4, 5, 6])
    const cube = Int16Array.from({ length: 24 }, (_, i) => i)
    const fortran = Int16Array.from({ length: 24 }, (_, i) => { const [a, b, c] = [i % 2, Math.floor(i / 2) % 3, Math.floor(i / 6)]; return a * 12 + b * 4 + c })
    expect(readNpy(npy(header('<i2', '(2, 3, 4)', 'True'), new Uint8Array(fortran.buffer))).data).toEqual(cube)
    expect([...readNpy(npy(header('>i4', '(2,)'), Uint8Array.of(0, 0, 1, 2, 255, 255, 255, 255), 2)).data]).toEqual([258, -1])
    expect(readNpy(npy(header('|b1', '()'), Uint8Array.of(1), 3)).shape).toEqual([])
  })

  it('refuses what it cannot read', () => {
    const four = new Uint8Array(4)
    expect(() => readNpy(npy(header('<f4', '(2,)'), four))).toThrow('LOWBIT_SHAPE')
    expect(() => readNpy(npy(header('<f4', '(99999999, 99999999, 99999999)'), four))).toThrow('LOWBIT_SHAPE')
    expect(() => readNpy(npy(header('<f4', '(-1,)'), four))).toThrow('LOWBIT_FORMAT')
    expect(() => readNpy(npy(header('|O', '(1,)'), four))).toThrow('LOWBIT_DTYPE')
    expect(() => readNpy(npy(header('<c8', '(1,)'), four))).toThrow('LOWBIT_DTYPE')
    expect(() => readNpy(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", four))).toThrow('LOWBIT_FORMAT')
    expect(() => readNpy(npy('garbage', four))).toThrow('LOWBIT_FORMAT')
    expect(() => writeNpy({ dtype: 'bfloat16', shape: [1], data: Uint16Array.of(1) })).toThrow('LOWBIT_DTYPE')
  })

  it('survives mutation', () => mutate(writeNpy(TENSORS.a), (bytes) => readNpy(bytes)))
})

describe('npz', () => {
  const all = (bytes: Uint8Array): Record<string, HostTensor> => {
    const file = readNpz(bytes)
    return Object.fromEntries(file.names.map((name) => [name, file.read(name)]))
  }

  it.each([true, false])('comes back the same (compressed: %s), the same bytes each time', (compress) => {
    const bytes = writeNpz(TENSORS, { compress })
    expect(all(bytes)).toEqual(TENSORS)
    expect(writeNpz(TENSORS, { compress })).toEqual(bytes)
  })

  it('refuses archives that promise too much, before inflating', () => {
    const bomb = zipSync({ 'a.npy': new Uint8Array(64 << 20) }, { level: 9 })
    expect(() => readNpz(bomb, { maxBytes: 1 << 20 })).toThrow('LOWBIT_LIMIT')
    // The directory claims 2 GB for a few bytes.
    const small = zipSync({ 'a.npy': writeNpy(TENSORS.a) }, { level: 9 })
    const view = new DataView(small.buffer)
    const directory = view.getUint32(small.length - 22 + 16, true)
    view.setUint32(directory + 24, 2 ** 31, true)
    expect(() => readNpz(small)).toThrow('LOWBIT_FORMAT')
    // It claims less than the data inflates to.
    view.setUint32(directory + 24, 64, true)
    expect(() => readNpz(small).read('a')).toThrow(/LOWBIT_(FORMAT|SHAPE)/)
  })

  it('refuses garbage and unknown names', () => {
    expect(() => readNpz(new Uint8Array(100))).toThrow('LOWBIT_FORMAT')
    expect(() => readNpz(writeNpz(TENSORS)).read('nothing')).toThrow('LOWBIT_NOT_FOUND')
    expect(readNpz(zipSync({ 'readme.txt': new Uint8Array(3) })).names).toEqual([])
  })

  it('survives mutation', () => mutate(writeNpz(TENSORS, { compress: true }), (bytes) => all(bytes)))
})
