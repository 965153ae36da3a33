import { execFile } from 'node:child_process'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { LAYER_ROLES, MODEL_ROLES, partsOf, huggingFaceConfig, type LayerRole, type ModelRole } from '@lowbit/causal-lm'
import { ggufSize, writeGguf, type GgufModel, type GgufValue } from '@lowbit/formats/gguf'
import { afterAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const MB = 2 ** 20
const folder = mkdtempSync(join(tmpdir(), 'lowbit-memory-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A llama whose embedding alone is larger than what loading may take beside the weights: 128 MB in float32, and 16 MB of Q4_1. */
const CONFIG = huggingFaceConfig({ model_type: 'llama', architectures: ['LlamaForCausalLM'], hidden_size: 512, num_hidden_layers: 6, num_attention_heads: 8, num_key_value_heads: 4, intermediate_size: 2048, vocab_size: 65536, rms_norm_eps: 1e-5, rope_theta: 10000, max_position_embeddings: 2048, tie_word_embeddings: true, hidden_act: 'silu' })
const PARTS = partsOf(CONFIG)

function model(): GgufModel {
  const count = (value: number): GgufValue => ({ type: 'uint32', value })
  const { layers, context, width, hidden, heads, kvHeads, epsilon } = CONFIG
  return {
    metadata: new Map<string, GgufValue>([
      ['general.architecture', { type: 'string', value: 'llama' }], ['llama.block_count', count(layers)], ['llama.context_length', count(context)], ['llama.embedding_length', count(width)],
      ['llama.feed_forward_length', count(hidden)], ['llama.attention.head_count', count(heads)], ['llama.attention.head_count_kv', count(kvHeads)], ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: Math.fround(epsilon) }],
    ]),
    tensors: PARTS.map(({ role, layer, kind, shape }) => {
      const values = shape.reduce((a, b) => a * b, 1)
      const isCoded = kind === 'matrix' && role !== 'embed'
      return {
        name: layer === undefined ? MODEL_ROLES[role as ModelRole].gguf : `blk.${layer}.${LAYER_ROLES[role as LayerRole].gguf}`, type: isCoded ? 'Q4_1' : 'F32', shape,
        data: async () => new Uint8Array(isCoded ? (values / 32) * 20 : values * 4),
      }
    }),
  }
}

describe('memory of a process', () => {
  it('is at most the file, a layer and 64 MB while a model opens, and the file, its caches and 96 MB while it runs', async () => {
    const path = join(folder, 'model.gguf')
    await pipeline(Readable.from(writeGguf(model())), createWriteStream(path))
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', fileURLToPath(new URL('support/open-alone.ts', import.meta.url)), path, '1024'], { cwd: ROOT, env: { ...process.env, TSX_TSCONFIG_PATH: `${ROOT}tsconfig.base.json`, NODE_OPTIONS: '' } })
    const { loading, running, cache } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { readonly loading: number; readonly running: number; readonly cache: number }
    const file = ggufSize(model())
    const layer = PARTS.filter((part) => part.layer === 0).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1) * 0.625, 0)
    expect(loading).toBeLessThanOrEqual(file + layer + 64 * MB)
    expect(running).toBeLessThanOrEqual(file + cache + 96 * MB)
    // less than the weights would mean that nothing was measured
    expect(loading).toBeGreaterThan(file / 2)
  }, 120_000)
})
