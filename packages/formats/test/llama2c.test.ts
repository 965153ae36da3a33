import { isLowbitError } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { memorySource, metadataNumber, openLlama2c } from '../src/gguf/index.js'

/** A legacy checkpoint whose floats count upwards: width 4, hidden 6, 2 layers, 2 heads, 1 kv head, 3 tokens, context 5. */
function legacy(tied = true): Uint8Array<ArrayBuffer> {
  const floats = 3 * 4 + 2 * 4 + 2 * (16 + 8 + 8 + 16) + 2 * 4 + 2 * 3 * 24 + 4 + 5 * 2 + (tied ? 0 : 12)
  const bytes = new Uint8Array(28 + 4 * floats)
  new Int32Array(bytes.buffer, 0, 7).set([4, 6, 2, 2, 1, tied ? 3 : -3, 5])
  new Float32Array(bytes.buffer, 28).forEach((_, i, all) => { all[i] = i })
  return bytes
}

const codeOf = (bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> => openLlama2c(memorySource(bytes)).then(() => undefined, (error: unknown) => (isLowbitError(error) ? error.code : String(error)))

describe('openLlama2c', () => {
  it('names the tensors as GGUF does', async () => {
    const model = await openLlama2c(memorySource(legacy(false)))
    expect(metadataNumber(model.metadata, 'llama.attention.head_count_kv')).toBe(1)
    expect(model.tensors.get('blk.1.attn_k.weight')).toMatchObject({ shape: [2, 4], type: 'F32' })
    expect((await model.floats('token_embd.weight', { from: 1, count: 1 })).data).toEqual(Float32Array.of(4, 5, 6, 7))
    // 12 embeddings, 8 norms, then q of layer 0 and 1, k of layer 0.
    expect((await model.floats('blk.1.attn_k.weight')).data[0]).toBe(12 + 8 + 32 + 8)
    expect((await model.floats('output.weight')).data).toHaveLength(12)
    expect((await openLlama2c(memorySource(legacy()))).tensors.has('output.weight')).toBe(false)
  })

  it.each([
    ['a file that is cut', legacy().slice(0, 500), 'LOWBIT_FORMAT'],
    ['a file that is too long', Uint8Array.from([...legacy(), 0]), 'LOWBIT_FORMAT'],
    ['a few bytes', new Uint8Array(3), 'LOWBIT_FORMAT'],
    ['sizes that are none', new Uint8Array(100), 'LOWBIT_FORMAT'],
    ['the quantized version', Uint8Array.from([0x32, 0x34, 0x6b, 0x61, 2, ...new Array<number>(300).fill(0)]), 'LOWBIT_UNSUPPORTED'],
  ])('refuses %s', async (_, bytes, code) => {
    expect(await codeOf(bytes)).toBe(code)
  })

  it('refuses huge sizes without making anything', async () => {
    const bytes = legacy()
    new Int32Array(bytes.buffer, 0, 7).set([0x7ffffff0, 0x7fffffff, 4000, 16, 16, 0x7fffffff, 0x7fffffff])
    expect(await codeOf(bytes)).toBe('LOWBIT_FORMAT')
  })
})
