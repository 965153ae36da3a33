import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { tinyGguf } from '../../causal-lm/test/support/tiny-gguf.js'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(async () => {
  box = sandbox()
  writeFileSync(box.path('tiny.gguf'), await tinyGguf('llama'))
  writeFileSync(box.path('tiny.q4.gguf'), await tinyGguf('llama', { type: 'Q4_0' }))
  writeFileSync(box.path('text.txt'), 'the quick brown fox jumps over the lazy dog. '.repeat(20))
  writeFileSync(box.path('short.txt'), 'the')
  writeFileSync(box.path('chat.jsonl'), '{"text": "the quick brown fox jumps"}\n{"text": ')
})
afterEach(() => box.remove())

const finetune = (...args: string[]): ReturnType<Sandbox['lowbit']> => box.lowbit('lm', 'finetune', ...args.map((arg) => (/\.(gguf|txt|jsonl)$|^out/.test(arg) ? box.path(arg) : arg)))
const report = (): Record<string, unknown> => JSON.parse(readFileSync(box.path('out/training.json'), 'utf8')) as Record<string, unknown>

describe('lowbit lm finetune', () => {
  it('trains int4 weights, writes a model that generates, and goes on where it stopped', async () => {
    const flags = ['tiny.gguf', '-d', 'text.txt', '-w', 'int4', '-g', '32', '-a', 'int8', '--window', '16', '--batch', '2', '--embedding', 'int4', '-o', 'out']
    const done = await finetune(...flags, '--steps', '4', '--evaluate-every', '2', '--gguf')
    expect(done.code, done.err).toBe(0)
    expect(done.out).toMatch(/4 steps .*tokens\/s.*evaluation +[\d.]+ → [\d.]+.*in 4\.50 bits each.*model\.safetensors/s)
    expect(report()).toMatchObject({ result: { steps: 4, stopped: 'done' }, quantized: { bits: 4.5 }, notes: [] })
    expect(readFileSync(box.path('out/curve.svg'), 'utf8')).toContain('<svg')
    expect(existsSync(box.path('out/.training.safetensors'))).toBe(false)
    for (const model of [box.path('out'), box.path('out/model.gguf')]) {
      const text = await box.lowbit('lm', 'generate', model, 'the quick', '-n', '5')
      expect(text.code, text.err).toBe(0)
      expect(text.out.length).toBeGreaterThan(1)
    }
    const inspected = JSON.parse((await box.lowbit('lm', 'inspect', box.path('out'), '--json')).out) as Record<string, unknown>
    expect(JSON.stringify(inspected)).toContain('uint4 group 32')
  })

  it('trains an adapter over codes, which goes beside its base when it generates', async () => {
    const done = await finetune('tiny.gguf', '-d', 'text.txt', '--lora', '4', '--base', 'nf4', '--targets', 'q,v', '--window', '16', '--batch', '2', '--steps', '3', '--recompute', '1', '--logit-rows', '8', '--gguf', '-o', 'out')
    expect(done.code, done.err).toBe(0)
    expect(existsSync(box.path('out/adapter.gguf'))).toBe(true)
    expect(JSON.parse(readFileSync(box.path('out/adapter_config.json'), 'utf8'))).toMatchObject({ base_model_name_or_path: '../tiny.gguf', r: 4, target_modules: ['q_proj', 'v_proj'] })
    const text = await box.lowbit('lm', 'generate', box.path('out'), 'the quick', '-n', '5')
    expect(text.code, text.err).toBe(0)
    const merged = await finetune('tiny.gguf', '-d', 'text.txt', '--lora', '2', '--base', 'int4', '--window', '16', '--batch', '2', '--steps', '2', '--merge', 'codes', '-o', 'out2')
    expect(merged.code, merged.err).toBe(0)
    expect(merged.out).toMatch(/merged +relative error up to [\d.e-]+; against what was learned up to/)
  })

  it.each([
    ['a text shorter than a window', ['tiny.gguf', '-d', 'short.txt', '--window', '16', '-o', 'out'], 1, 'at least 17'],
    ['broken jsonl', ['tiny.gguf', '-d', 'chat.jsonl', '--window', '8', '-o', 'out'], 1, 'line 2'],
    ['a rank larger than the matrix', ['tiny.gguf', '-d', 'text.txt', '--window', '16', '--lora', '65', '-o', 'out'], 2, 'rank 65'],
    ['a base that cannot be trained over', ['tiny.q4.gguf', '-d', 'text.txt', '--window', '16', '-w', 'int4', '-o', 'out'], 1, '--lora'],
    ['weights and an adapter', ['tiny.gguf', '-d', 'text.txt', '-w', 'int4', '--lora', '4', '-o', 'out'], 2, '--lora'],
    ['a base without an adapter', ['tiny.gguf', '-d', 'text.txt', '--base', 'nf4', '-o', 'out'], 2, '--base'],
    ['a window that the model was not trained for', ['tiny.gguf', '-d', 'text.txt', '--window', '4096', '-o', 'out'], 1, '--window'],
    ['groups with bitnet', ['tiny.gguf', '-d', 'text.txt', '--window', '16', '-w', 'bitnet', '-g', '32', '-o', 'out'], 2, '--group'],
  ])('refuses %s', async (_, args, code, says) => {
    const found = await finetune(...args)
    expect(found.err).toContain(says)
    expect(found.code).toBe(code)
  })

  it('refuses the state of another training, unless it is to begin anew', async () => {
    const flags = ['tiny.gguf', '-d', 'text.txt', '--window', '16', '--batch', '1', '--steps', '2', '-o', 'out']
    await finetune(...flags)
    writeFileSync(box.path('out/.training.safetensors'), 'no state')
    const again = await finetune(...flags)
    expect(again.code).toBe(1)
    const fresh = await finetune(...flags, '--fresh')
    expect(fresh.code, fresh.err).toBe(0)
  })
})
