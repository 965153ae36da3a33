import { existsSync, readFileSync } from 'node:fs'
import { memorySource, metadataNumber, openLlama2c } from '@lowbit/formats/gguf'
import { describe, expect, it } from 'vitest'
import { tokenizerFromLlama2c } from '../src/tokenizer/index.js'

const data = new URL('../../../../shared/data/', import.meta.url).pathname
const there = existsSync(`${data}stories260K.bin`)
const read = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(data + name))

describe.skipIf(!there)(`stories260K${there ? '' : ' (skipped: no ../shared beside the checkout)'}`, () => {
  it('opens with its tokenizer', async () => {
    const model = await openLlama2c(memorySource(read('stories260K.bin')))
    const tokenizer = tokenizerFromLlama2c(read('tok512.bin'))
    expect(metadataNumber(model.metadata, 'llama.vocab_size')).toBe(tokenizer.size)
    const text = readFileSync(`${data}tinystories_val.txt`, 'utf8').slice(0, 20_000)
    const ids = tokenizer.encode(text)
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(text)
    // A vocabulary of 512 pieces that was trained on such text spells several characters a token.
    expect(text.length / ids.length).toBeGreaterThan(2)
    expect(tokenizer.encode('Once upon a time', { bos: false }).map((id) => tokenizer.spelling(id)).join('')).toBe('\u2581Once\u2581upon\u2581a\u2581time')
  })
})
