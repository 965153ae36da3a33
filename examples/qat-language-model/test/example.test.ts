import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'
import { tinyGguf } from '../../../packages/causal-lm/test/support/tiny-gguf.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'lowbit-example-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = async (...args: string[]): Promise<string> => (await promisify(execFile)(process.execPath, [join(root, 'node_modules/tsx/dist/cli.mjs'), '--tsconfig', join(root, 'tsconfig.base.json'), fileURLToPath(new URL('../src/main.ts', import.meta.url)), '--output', folder, ...args], { maxBuffer: 1 << 24 })).stdout

it('prepares, trains, converts, saves, loads and generates', async () => {
  writeFileSync(join(folder, 'tiny.gguf'), await tinyGguf('llama'))
  writeFileSync(join(folder, 'text.txt'), Array.from({ length: 12 }, (_, i) => `Once upon a time the ${'abcdefghijkl'[i]} went out and ${'saw the fox jump over the lazy dog and '.repeat(9)}slept.`).join('<|endoftext|>'))
  const out = await run('--model', join(folder, 'tiny.gguf'), '--text', join(folder, 'text.txt'), '--steps', '2', '--batch', '2', '--window', '32', '--layers', '1')
  expect(out).toMatch(/9 stories to learn, 3 to be judged by/)
  expect(out).toMatch(/fine-tuned in float: perplexity [\d.]+.*rounded afterwards: perplexity [\d.]+.*rounding in the loop: perplexity [\d.]+/s)
  const sizes = [...out.matchAll(/([\d.]+) kB of weights/g)].map(([, size]) => Number(size))
  expect(sizes[2]).toBeLessThan(sizes[0])
  expect(sizes[2]).toBe(sizes[1])
  expect(readFileSync(join(folder, 'log.jsonl'), 'utf8').trim().split('\n')).toHaveLength(3)
  expect(existsSync(join(folder, 'curves.svg'))).toBe(true)
})

it('runs the sizes of a larger model, with short last groups', async () => {
  const out = await run('--shape', 'tiny')
  expect(out).toMatch(/prepared: 2 layers, .* groups of 48.*two steps: [\d.]+, [\d.]+.*saved.*opened on .*wrote tokens( \d+){8}, peak \d+ MB/s)
})
