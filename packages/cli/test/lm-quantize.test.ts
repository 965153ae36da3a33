import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gptq } from '@lowbit/algos-gptq'
import { calibrationWindows, openCausalLmHost, openModelFile } from '@lowbit/causal-lm'
import { int4, quantize as quantizeHost } from '@lowbit/core'
import { folderStore } from '@lowbit/jobs/node'
import { openGgufFile } from '@lowbit/formats/node'
import { tinyGguf } from '../../causal-lm/test/support/tiny-gguf.js'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(async () => {
  box = sandbox()
  writeFileSync(box.path('tiny.gguf'), await tinyGguf('llama', { config: { num_hidden_layers: 1, intermediate_size: 80 } }))
  writeFileSync(box.path('text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(12))
})
afterEach(() => box.remove())

const quantize = (...args: string[]): ReturnType<Sandbox['lowbit']> => box.lowbit('lm', 'quantize', ...args.map((arg) => (/\.(gguf|txt|json)$/.test(arg) ? box.path(arg) : arg)))

const types = async (name: string): Promise<Record<string, string>> => {
  await using file = await openGgufFile(box.path(name))
  return Object.fromEntries([...file.tensors.values()].map(({ name: tensor, type }) => [tensor.replace('blk.0.', ''), type]))
}

describe('lowbit lm quantize', () => {
  it('writes a GGUF file that opens, each matrix by its rule, and says what stays in float and why', async () => {
    const { code, out } = await quantize('tiny.gguf', '-o', 'small.gguf')
    expect(code, out).toBe(0)
    expect(await types('small.gguf')).toMatchObject({ 'token_embd.weight': 'Q8_0', 'attn_q.weight': 'Q4_0', 'ffn_up.weight': 'Q4_0', 'ffn_down.weight': 'F32', 'output.weight': 'Q8_0', 'attn_norm.weight': 'F32' })
    expect(out).toMatch(/quantized: 8 matrices, .* of the same matrices before/)
    expect(out).toMatch(/layers\.0\.down: GGUF's blocks need K to be a multiple of 32, and K is 80 \(20\.5 KB\)/)
    expect((await box.lowbit('lm', 'generate', box.path('small.gguf'), 'abc', '-n', '4')).code).toBe(0)
  })

  it('calibrates with a text, product by product, and leaves nothing but the file and its report', async () => {
    const { code, out, err } = await quantize('tiny.gguf', '-w', 'uint4', '-a', 'gptq', '-c', 'text.txt', '--window', '32', '-o', 'small.gguf', '--report', 'report.json', '--threads', '1', '--force')
    expect(code, err).toBe(0)
    expect(out).toContain('uint4 group 32 asymmetric')
    expect(await types('small.gguf')).toMatchObject({ 'attn_q.weight': 'Q4_1', 'ffn_gate.weight': 'Q4_1' })
    const report = JSON.parse(readFileSync(box.path('report.json'), 'utf8')) as { sites: { id: string; outputSqnr?: number }[] }
    expect(report.sites.find(({ id }) => id === 'layers.0.q')?.outputSqnr).toBeGreaterThan(5)
    expect(readdirSync(box.path('.')).sort()).toEqual(['data.npz', 'model.onnx', 'report.json', 'small.gguf', 'text.txt', 'tiny.gguf'])
  })

  it('finds codes on the scales of K-quants, and names what their blocks do not hold', async () => {
    writeFileSync(box.path('wide.gguf'), await tinyGguf('llama', { config: { num_hidden_layers: 1, hidden_size: 64, intermediate_size: 256 } }))
    const { code, out, err } = await quantize('wide.gguf', '-w', 'q4_k', '-c', 'text.txt', '--window', '32', '-o', 'small.gguf', '--force')
    expect(code, err).toBe(0)
    expect(await types('small.gguf')).toMatchObject({ 'ffn_down.weight': 'Q4_K', 'attn_q.weight': 'Q4_1', 'token_embd.weight': 'Q8_0' })
    expect(out).toMatch(/layers\.0\.q.*Q4_K needs K to be a multiple of 256, and K is 64: Q4_1 fits/)
    expect((await quantize('wide.gguf', '-w', 'q4_k', '-g', '64', '-o', 'other.gguf')).err).toContain('--group')
    expect((await quantize('wide.gguf', '-w', 'q4_k', '--to', 'onnx', '-o', box.path('out'))).err).toContain('GGUF alone')
  })

  it('writes a folder in the packing of GPTQ tools, which opens again', async () => {
    const { code, out, err } = await quantize('tiny.gguf', '-o', `${box.path('packed')}/`, '-x', '*.down')
    expect(code, err).toBe(0)
    expect(out).toContain('keep embedding and head in float')
    expect(JSON.parse(readFileSync(box.path('packed/config.json'), 'utf8'))).toMatchObject({ quantization_config: { quant_method: 'gptq', bits: 4, group_size: 32, sym: true } })
    expect((await box.lowbit('lm', 'inspect', box.path('packed'), '--json')).out).toMatch(/"stored": "gptq 4 bits"/)
    expect((await quantize('tiny.gguf', '-o', `${box.path('other')}/`, '--override', '*.q=int8')).err).toContain('--override')
  })

  it('writes a folder for transformers.js, whole or not at all', async () => {
    const { code, out, err } = await quantize('tiny.gguf', '--to', 'onnx', '-o', box.path('out'), '--set', 'attention=plain')
    expect(code, err).toBe(0)
    expect(out).toContain('put that of its Hugging Face folder beside the files')
    expect(readdirSync(box.path('out')).sort()).toEqual(['config.json', 'genai_config.json', 'onnx'])
    expect(readdirSync(box.path('out/onnx')).sort()).toEqual(['model_q4.onnx', 'model_q4.onnx_data'])
    expect(JSON.parse(readFileSync(box.path('out/config.json'), 'utf8'))).toMatchObject({ model_type: 'llama', num_key_value_heads: 2, 'transformers.js_config': { dtype: 'q4', use_external_data_format: { 'model_q4.onnx': 1 } } })
    const again = await quantize('tiny.gguf', '--to', 'onnx', '-o', box.path('out'))
    expect(again.err).toContain('a folder with 3 entries')
    expect(readdirSync(box.path('.')).sort()).toEqual(['data.npz', 'model.onnx', 'out', 'text.txt', 'tiny.gguf'])
  })

  it('goes on where a killed run stopped, to the same bytes', async () => {
    const run = async (work: string | undefined, stopAt?: string): Promise<Uint8Array | undefined> => {
      const file = await openModelFile(box.path('tiny.gguf'))
      const tokenizer = file.tokenizer()
      if (tokenizer === undefined) throw new Error('the tiny model has a tokenizer')
      const calibration = calibrationWindows(tokenizer, readFileSync(box.path('text.txt'), 'utf8'), { window: 32 })
      const host = await openCausalLmHost(file, { kernels: 'float' })
      const stop = new AbortController()
      const jobs = work === undefined ? undefined : folderStore(work)
      try {
        const { artifact } = await quantizeHost(host, {
          weights: int4({ group: 32 }), rounding: gptq(), calibration, mode: 'sequential', signal: stop.signal, ...(jobs === undefined ? {} : { jobs }),
          onProgress: ({ phase, item }) => {
            if (phase === 'round' && item !== undefined && item === stopAt) stop.abort()
          },
        })
        expect(jobs?.resumed ?? 0).toBe(work === undefined ? 0 : 4)
        return artifact.bytes()
      } catch (error) {
        if (stopAt === undefined) throw error
        return undefined
      } finally {
        await host.dispose()
      }
    }
    expect(await run(box.path('work'), 'layers.0.o')).toBeUndefined()
    expect(await run(box.path('work'))).toEqual(await run(undefined))
  })

  it.each([
    [['tiny.gguf', '-o', 'tiny.gguf'], 2, 'the model itself'],
    [['tiny.gguf', '-o', 'small.bin'], 2, '--to onnx'],
    [['tiny.gguf', '-o', 'small.gguf', '-c', 'text.txt', '--window', '64', '--tokens', '32'], 1, 'at least one window of 64'],
    [['tiny.gguf', '-o', 'small.gguf', '-c', 'text.txt', '--window', '4096'], 1, 'trained for'],
    [['tiny.gguf', '-o', 'small.gguf', '--embedding', 'int5'], 2, '--embedding'],
    [['tiny.gguf', '-o', 'small.gguf', '--tokens', '64'], 2, '--tokens'],
    [['nothing.gguf', '-o', 'small.gguf'], 1, 'nothing.gguf'],
  ] as const)('%j: refused, and nothing is written', async (args, code, sentence) => {
    const answer = await quantize(...args)
    expect(answer.err).toContain(sentence)
    expect(answer.code).toBe(code)
    expect(existsSync(box.path('small.gguf'))).toBe(false)
    expect(readdirSync(box.path('.')).sort()).toEqual(['data.npz', 'model.onnx', 'text.txt', 'tiny.gguf'])
  })
})
