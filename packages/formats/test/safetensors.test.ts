import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { HostTensor } from '@lowbit/core'
import { readSafetensors, writeSafetensors } from '@lowbit/formats'
import { openSafetensors } from '@lowbit/formats/node'
import { describe, expect, it } from 'vitest'
import { mutate, TENSORS } from './tensor-files.js'

const tensors: Record<string, HostTensor> = { ...TENSORS, g: { dtype: 'bfloat16', shape: [2], data: Uint16Array.of(1, 2) }, h: { dtype: 'float8e4m3fn', shape: [1], data: Uint8Array.of(127) } }

function file(header: string, data = 0): Uint8Array {
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length + data)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

describe('safetensors', () => {
  it('comes back the same, with metadata, as views', () => {
    const bytes = writeSafetensors(tensors, { format: 'pt' })
    const read = readSafetensors(bytes)
    expect(Object.fromEntries([...read.entries.keys()].map((name) => [name, read.read(name)]))).toEqual(tensors)
    expect(read.metadata).toEqual({ format: 'pt' })
    expect(read.read('a').data.buffer).toBe(bytes.buffer)
  })

  it('is read from the disk one tensor at a time', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
    const path = join(folder, 'x.safetensors')
    await writeFile(path, writeSafetensors(tensors))
    {
      await using lazy = await openSafetensors(path)
      for (const [name, t] of Object.entries(tensors)) expect(await lazy.read(name)).toEqual(t)
      await expect(lazy.read('nothing')).rejects.toThrow('LOWBIT_NOT_FOUND')
    }
    await writeFile(path, new Uint8Array(3))
    await expect(openSafetensors(path)).rejects.toThrow('LOWBIT_FORMAT')
    await rm(folder, { recursive: true })
  })

  it('refuses headers that lie', () => {
    const one = (entry: object, data = 8): (() => unknown) => () => readSafetensors(file(JSON.stringify({ t: entry }), data))
    expect(one({ dtype: 'F32', shape: [2], data_offsets: [0, 8] })).not.toThrow()
    expect(one({ dtype: 'F32', shape: [2], data_offsets: [0, 16] })).toThrow('LOWBIT_FORMAT')
    expect(one({ dtype: 'F32', shape: [3], data_offsets: [0, 8] })).toThrow('LOWBIT_SHAPE')
    expect(one({ dtype: 'F32', shape: [2 ** 40, 2 ** 40], data_offsets: [0, 8] })).toThrow('LOWBIT_SHAPE')
    expect(one({ dtype: 'F32', shape: [-2], data_offsets: [0, 8] })).toThrow('LOWBIT_FORMAT')
    expect(one({ dtype: 'F32', shape: [2], data_offsets: [8, 0] })).toThrow('LOWBIT_FORMAT')
    expect(one({ dtype: 'F32', shape: [2] })).toThrow('LOWBIT_FORMAT')
    expect(one([])).toThrow('LOWBIT_FORMAT')
    expect(() => readSafetensors(file('[]'))).toThrow('LOWBIT_FORMAT')
    expect(() => readSafetensors(file('{'))).toThrow('LOWBIT_FORMAT')
    const overlap = { a: { dtype: 'U8', shape: [4], data_offsets: [0, 4] }, b: { dtype: 'U8', shape: [4], data_offsets: [2, 6] } }
    expect(() => readSafetensors(file(JSON.stringify(overlap), 8))).toThrow('share bytes')
    expect(() => readSafetensors(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 123))).toThrow('LOWBIT_FORMAT')
    expect(() => readSafetensors(file('{"__proto__": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', 1)).read('__proto__')).not.toThrow()
  })

  it('shows unknown types but does not read them', () => {
    const read = readSafetensors(file(JSON.stringify({ t: { dtype: 'F4', shape: [2], data_offsets: [0, 1] } }), 1))
    expect(read.entries.get('t')?.type).toBe('F4')
    expect(() => read.read('t')).toThrow('LOWBIT_DTYPE')
  })

  it('survives mutation', () => mutate(writeSafetensors(tensors), (bytes) => {
    const read = readSafetensors(bytes)
    for (const name of read.entries.keys()) read.read(name)
  }))
})
