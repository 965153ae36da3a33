import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { tinyGguf } from '../../causal-lm/test/support/tiny-gguf.js'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(async () => {
  box = sandbox()
  writeFileSync(box.path('tiny.gguf'), await tinyGguf('llama'))
  writeFileSync(box.path('tiny.q4.gguf'), await tinyGguf('llama', { type: 'Q4_0' }))
  writeFileSync(box.path('text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(4))
})
afterEach(() => box.remove())

const lm = (...args: string[]): ReturnType<Sandbox['lowbit']> => box.lowbit('lm', ...args.map((arg) => (/\.(gguf|txt|jsonl)$/.test(arg) ? box.path(arg) : arg)))

describe('lowbit lm', () => {
  it('inspects a model: sizes, tokenizer, what matrices became', async () => {
    const { code, out } = await lm('inspect', 'tiny.q4.gguf')
    expect(code).toBe(0)
    expect(out).toMatch(/llama, .*2 layers of 64, 4 heads of 16 \(2 of keys and values\)/s)
    expect(out).toMatch(/gate +2 +96 × 64 +Q4_0 +codes group 32/)
    expect(out).toContain('chat template')
    const json: unknown = JSON.parse((await lm('inspect', 'tiny.gguf', '--weights', 'int4', '--json')).out)
    expect(json).toMatchObject({ format: 'gguf', config: { layers: 2, rotaryBase: 10000 }, tokenizer: { size: 96 } })
    expect(JSON.stringify(json)).toContain('"held":"int4 group 32"')
  })

  it('generates: the same text for a seed, with a line in the log for each', async () => {
    const args = ['generate', 'tiny.q4.gguf', 'abc', '-n', '12', '--temperature', '1', '--seed', '4', '--log', 'log.jsonl']
    const first = await lm(...args)
    expect(first.code).toBe(0)
    const second = await lm(...args, '--json')
    const result = JSON.parse(second.out) as { text: string; seed: number; tokens: number[] }
    expect(`${result.text}\n`).toBe(first.out)
    expect(result).toMatchObject({ seed: 4, finish: 'length' })
    const lines = readFileSync(box.path('log.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines).toHaveLength(2)
    expect(lines[1]).toMatchObject({ prompt: 'abc', finish: 'length', settings: { temperature: 1, seed: 4, maxTokens: 12 }, tokens: result.tokens })
    expect(lines[0]['hash']).toBe(lines[1]['hash'])
  })

  it('measures perplexity with its window and stride, and a model against another', async () => {
    const alone = await lm('eval', 'tiny.gguf', '--text', 'text.txt', '--window', '48', '--stride', '24')
    expect(alone.out).toMatch(/180 tokens, windows of 48 every 24.*perplexity +[\d.]+ ± [\d.]+/s)
    const both = await lm('eval', 'tiny.q4.gguf', '--against', 'tiny.gguf', '--text', 'text.txt', '--window', '48')
    expect(both.out).toMatch(/mean KL.*99 % KL.*99\.9 % KL.*maximum KL.*same top.*RMS Δp/s)
    const same = JSON.parse((await lm('eval', 'tiny.gguf', '--against', 'tiny.gguf', '--text', 'text.txt', '--window', '48', '--json')).out) as { kl: { max: number }; sameTop: { value: number } }
    expect(same).toMatchObject({ kl: { max: 0 }, sameTop: { value: 1 } })
  })

  it.each([
    [['generate', 'tiny.gguf', 'a', '--temperature', 'hot'], 2, '--temperature'],
    [['generate', 'tiny.gguf', 'a', '--top-p', '2'], 2, 'topP'],
    [['generate', 'tiny.gguf', 'a', '-n', '500'], 1, 'at most 125'],
    [['generate', 'tiny.gguf', 'a', '--cache', 'int2'], 2, '--cache'],
    [['inspect', 'nothing.gguf'], 1, 'nothing.gguf'],
    [['inspect', 'text.txt'], 1, 'llama2.c'],
    [['inspect', 'tiny.gguf', '--weights', 'int5'], 2, '--weights'],
    [['eval', 'tiny.gguf'], 2, ''],
    [['eval', 'tiny.gguf', '--text', 'text.txt', '--window', '500'], 1, 'context'],
    [['eval', 'tiny.gguf', '--text', 'text.txt', '--window', '20', '--stride', '40'], 2, 'stride'],
  ])('refuses %j', async (args, code, says) => {
    const found = await lm(...args)
    expect(found.code).toBe(code)
    expect(found.err).toContain(says)
  })

  it('shows help with examples for each command', async () => {
    for (const command of ['inspect', 'generate', 'chat', 'eval']) {
      const { code, out } = await box.lowbit('lm', command, '--help')
      expect(code).toBe(0)
      expect(out).toMatch(/Examples:\n +\$ lowbit/)
    }
  })
})
