import { isLowbitError, type HostTensor } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { writeSafetensors } from '../src/index.js'
import { filesInMemory, openHuggingFace } from '../src/huggingface/index.js'

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))
const vector = (...values: number[]): HostTensor => ({ dtype: 'float32', shape: [values.length, 1], data: Float32Array.from(values) })

async function codeOf(run: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await run()
  } catch (error) {
    return isLowbitError(error) ? error.code : `not ours: ${String(error)}`
  }
  return undefined
}

const first = writeSafetensors({ a: vector(1, 2), b: vector(3) })
const second = writeSafetensors({ c: vector(4, 5, 6) })
const index = { weight_map: { a: 'm-1.safetensors', b: 'm-1.safetensors', c: 'm-2.safetensors' } }
const sharded = { 'config.json': json({ model_type: 'llama' }), 'model.safetensors.index.json': json(index), 'm-1.safetensors': first, 'm-2.safetensors': second }

describe('openHuggingFace', () => {
  it('opens a folder with one file of weights', async () => {
    const folder = await openHuggingFace(filesInMemory({ 'config.json': json({ model_type: 'llama' }), 'model.safetensors': first }, 'here'))
    expect(folder.config).toEqual({ model_type: 'llama' })
    expect([folder.generation, folder.tokenizer, folder.tokenizerConfig, folder.chatTemplate]).toEqual([{}, undefined, {}, undefined])
    expect((await folder.floats('a', { from: 1, count: 1 })).data).toEqual(Float32Array.of(2))
    expect(await codeOf(() => folder.floats('z'))).toBe('LOWBIT_NOT_FOUND')
    expect(await codeOf(() => folder.floats('a', { from: 1, count: 2 }))).toBe('LOWBIT_SHAPE')
    await folder.close()
  })

  it('opens the files that an index names, as blobs too', async () => {
    const folder = await openHuggingFace(filesInMemory({ ...sharded, 'm-2.safetensors': new Blob([second]) }))
    expect([...folder.tensors.keys()].sort()).toEqual(['a', 'b', 'c'])
    expect((await folder.host('c')).data).toEqual(Float32Array.of(4, 5, 6))
  })

  it('reads every float type as float32, bit for bit', async () => {
    const types: Record<string, HostTensor> = {
      f16: { dtype: 'float16', shape: [2], data: Uint16Array.of(0x3c00, 0xc001) },
      bf16: { dtype: 'bfloat16', shape: [2], data: Uint16Array.of(0x3f80, 0xc000) },
      e4m3: { dtype: 'float8e4m3fn', shape: [3], data: Uint8Array.of(0x38, 0x7e, 0x01) },
      e5m2: { dtype: 'float8e5m2', shape: [3], data: Uint8Array.of(0x3c, 0x7b, 0x01) },
      f64: { dtype: 'float64', shape: [1], data: Float64Array.of(0.1) },
    }
    const folder = await openHuggingFace(filesInMemory({ 'config.json': json({}), 'model.safetensors': writeSafetensors(types) }))
    const read = async (name: string): Promise<number[]> => [...(await folder.floats(name)).data]
    expect(await read('f16')).toEqual([1, -2.001953125])
    expect(await read('bf16')).toEqual([1, -2])
    expect(await read('e4m3')).toEqual([1, 448, 2 ** -9])
    expect(await read('e5m2')).toEqual([1, 57344, 2 ** -16])
    expect(await read('f64')).toEqual([Math.fround(0.1)])
  })

  it('finds the chat template wherever it is', async () => {
    const template = async (files: Record<string, Uint8Array<ArrayBuffer>>): Promise<string | undefined> => (await openHuggingFace(filesInMemory({ 'config.json': json({}), 'model.safetensors': first, ...files }))).chatTemplate
    const list = json({ chat_template: [{ name: 'tool_use', template: 'T' }, { name: 'default', template: 'D' }] })
    expect(await template({ 'tokenizer_config.json': json({ chat_template: 'C' }) })).toBe('C')
    expect(await template({ 'tokenizer_config.json': list })).toBe('D')
    expect(await template({ 'tokenizer_config.json': list, 'chat_template.jinja': new TextEncoder().encode('J') })).toBe('J')
  })

  const without = (name: string): Record<string, Uint8Array<ArrayBuffer>> => Object.fromEntries(Object.entries(sharded).filter(([file]) => file !== name))
  it.each([
    ['no config.json', without('config.json'), 'LOWBIT_NOT_FOUND'],
    ['no weights', { 'config.json': json({}) }, 'LOWBIT_NOT_FOUND'],
    ['pickled weights only', { 'config.json': json({}), 'pytorch_model.bin': first }, 'LOWBIT_NOT_FOUND'],
    ['a missing shard', without('m-2.safetensors'), 'LOWBIT_NOT_FOUND'],
    ['a config that is cut', { ...sharded, 'config.json': new TextEncoder().encode('{"a":') }, 'LOWBIT_FORMAT'],
    ['a config that is a list', { ...sharded, 'config.json': json([]) }, 'LOWBIT_FORMAT'],
    ['an index without a map', { ...sharded, 'model.safetensors.index.json': json({}) }, 'LOWBIT_FORMAT'],
    ['an index that leads out of the folder', { ...sharded, 'model.safetensors.index.json': json({ weight_map: { a: '../../x.safetensors' } }) }, 'LOWBIT_FORMAT'],
    ['an index that names a tensor that is not there', { ...sharded, 'model.safetensors.index.json': json({ weight_map: { ...index.weight_map, d: 'm-1.safetensors' } }) }, 'LOWBIT_FORMAT'],
    ['an index that names the wrong file', { ...sharded, 'model.safetensors.index.json': json({ weight_map: { ...index.weight_map, a: 'm-2.safetensors' } }) }, 'LOWBIT_FORMAT'],
    ['a tensor in two files', { ...sharded, 'm-2.safetensors': writeSafetensors({ c: vector(1), a: vector(1) }) }, 'LOWBIT_FORMAT'],
    ['a shard that is cut', { ...sharded, 'm-2.safetensors': second.slice(0, second.length - 1) }, 'LOWBIT_FORMAT'],
  ] as [string, Record<string, Uint8Array<ArrayBuffer>>, string][])('refuses %s', async (_, files, code) => {
    expect(await codeOf(() => openHuggingFace(filesInMemory(files)))).toBe(code)
  })

  it('opens or refuses a file of weights whatever bytes change', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(first.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }), async (changes) => {
      const broken = first.slice()
      for (const [at, value] of changes) broken[at] = value
      const code = await codeOf(async () => {
        const folder = await openHuggingFace(filesInMemory({ 'config.json': json({}), 'model.safetensors': broken }))
        for (const name of folder.tensors.keys()) await folder.floats(name)
      })
      if (code !== undefined) expect(['LOWBIT_FORMAT', 'LOWBIT_SHAPE', 'LOWBIT_LIMIT', 'LOWBIT_DTYPE']).toContain(code)
    }), { numRuns: 300 })
  })
})
