import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError, type ErrorCode, type PackedWeights } from '@lowbit/core'
import { blobSource, memorySource, openGguf, writeGguf, type GgufValue, type WrittenType } from '@lowbit/formats/gguf'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { ggufWeights, kernelKeeper, loadWeights, openCausalLm, type Keeper } from '@lowbit/causal-lm'
import { describe, expect, it } from 'vitest'
import { tinyGguf } from './support/tiny-gguf.js'

const MODEL = { threads: 1, context: 32, tokenizer: 'none' } as const

async function refusal(code: ErrorCode, run: () => Promise<Disposable>): Promise<string> {
  const error: unknown = await run().then((lm) => {
    lm[Symbol.dispose]()
    return undefined
  }, (caught: unknown) => caught)
  expect(isLowbitError(error, code), String(error)).toBe(true)
  return String(error)
}

describe('matrices in pieces', () => {
  it.each<[string, WrittenType]>([['llama', 'Q4_0'], ['llama', 'Q4_1'], ['llama', 'Q8_0'], ['qwen2', 'Q5_1'], ['llama', 'F16'], ['qwen3', 'BF16'], ['llama', 'F32'], ['gemma3', 'IQ4_NL'], ['llama', 'MXFP4']])('are packed to what whole ones are (%s, %s)', async (name, type) => {
    const bytes = await tinyGguf(name, { type })
    using kernels = await createWasmKernels({ threads: 1 })
    const byPieces = kernelKeeper(kernels)
    const whole: Keeper<PackedWeights> = { keep: byPieces.keep }
    expect(byPieces.keepPieces).toBeDefined()
    const [a, b] = [await loadWeights(await ggufWeights(await openGguf(memorySource(bytes))), byPieces), await loadWeights(await ggufWeights(await openGguf(blobSource(new Blob([bytes])))), whole)]
    expect(a.hash).toBe(b.hash)
    // bytes may differ: the pieces' range is that of the type, not of what is in it
    expect(a.report.map((matrix) => ({ ...matrix, bytes: 0 }))).toEqual(b.report.map((matrix) => ({ ...matrix, bytes: 0 })))
    for (const [part, packed] of Object.entries(a.matrices)) expect(kernels.dequantize(packed).data, part).toEqual(kernels.dequantize(b.matrices[part]).data)
  })

  it.each<[WrittenType, readonly [number, number], string]>([['Q4_1', [0x00, 0x7e], 'scale'], ['F16', [0x00, 0x7c], 'element'], ['BF16', [0xc0, 0x7f], 'element']])('of %s with a value that is no number are refused by name', async (type, [low, high], what) => {
    const bytes = await tinyGguf('llama', { type })
    const tensor = (await openGguf(memorySource(bytes))).tensors.get('blk.1.ffn_down.weight')
    bytes.set([low, high], tensor?.offset)
    expect(await refusal('LOWBIT_NONFINITE', () => openCausalLm(bytes, MODEL))).toMatch(new RegExp(`blk\\.1\\.ffn_down\\.weight.*${what}`))
  })

  it('stop when they are told to, and the kernels go on', async () => {
    const bytes = await tinyGguf('llama', { type: 'Q4_0' })
    using kernels = await createWasmKernels({ threads: 1 })
    for (let round = 0; round < 3; round++) {
      const controller = new AbortController()
      await refusal('LOWBIT_ABORTED', () => openCausalLm(bytes, { ...MODEL, kernels, signal: controller.signal, onProgress: ({ done }) => { if (done === 5) controller.abort() } }))
    }
    using lm = await openCausalLm(bytes, { ...MODEL, kernels })
    using session = lm.session()
    expect((await session.extend([1, 2])).every(Number.isFinite)).toBe(true)
  })

  it('of a model in several files are read from the file they stand in', async () => {
    const bytes = await tinyGguf('llama', { type: 'Q4_1' })
    const file = await openGguf(memorySource(bytes))
    const box = mkdtempSync(join(tmpdir(), 'lowbit-split-'))
    try {
      const names = [...file.tensors.keys()]
      for (const part of [0, 1, 2]) {
        const split: [string, GgufValue][] = [['split.no', { type: 'uint16', value: part }], ['split.count', { type: 'uint16', value: 3 }], ['split.tensors.count', { type: 'int32', value: names.length }]]
        const tensors = names.filter((_, i) => i % 3 === part).map((name) => {
          const { type = '', shape = [] } = file.tensors.get(name) ?? {}
          return { name, type, shape, data: () => file.bytes(name) }
        })
        const chunks: Uint8Array[] = []
        for await (const chunk of writeGguf({ metadata: new Map([...(part === 0 ? file.metadata : []), ...split]), tensors })) chunks.push(chunk.slice())
        writeFileSync(join(box, `tiny-0000${part + 1}-of-00003.gguf`), Buffer.concat(chunks))
      }
      using whole = await openCausalLm(bytes, MODEL)
      using split = await openCausalLm(join(box, 'tiny-00001-of-00003.gguf'), MODEL)
      expect(split.hash).toBe(whole.hash)
      using a = whole.session()
      using b = split.session()
      expect(await b.extend([5, 6, 7])).toEqual(await a.extend([5, 6, 7]))
    } finally {
      rmSync(box, { recursive: true })
    }
  })
})
