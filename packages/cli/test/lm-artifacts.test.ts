import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '@lowbit/backend-ort'
import { huggingFaceWeights, openCausalLmHost, openModelFile, partsOf, type CausalLmHost, type ModelFile } from '@lowbit/causal-lm'
import { int4, quantize, uint4, type Artifact, type Batch, type Json, type Scheme } from '@lowbit/core'
import { artifactSuite, type ReopenedModel } from '@lowbit/core/testkit'
import { readOnnx, writeOnnx } from '@lowbit/formats'
import { filesInMemory, memorySource } from '@lowbit/formats/gguf'
import { tinyFolder } from '../../causal-lm/test/support/tiny-model.js'

const TOKENS = Int32Array.from({ length: 20 }, (_, i) => (i * 7 + 3) % 96)

function host(name: string): Promise<CausalLmHost> {
  const weights = huggingFaceWeights(tinyFolder(name, { num_hidden_layers: 2, hidden_size: 64, intermediate_size: 80, tie_word_embeddings: name !== 'qwen2', ...(name === 'gemma3' ? { query_pre_attn_scalar: 16 } : {}) }))
  return openCausalLmHost({ name, weights, ends: [], tokenizer: () => undefined, ggufTokenizer: () => undefined }, { kernels: 'float' })
}

const int64 = (values: Iterable<number>, shape: readonly number[]): Batch[string] => ({ dtype: 'int64', shape, data: BigInt64Array.from([...values].map(BigInt)) })

/** Logits after every token: a prompt first, then a token at a time through the caches. */
async function logitsOf(bytes: Uint8Array<ArrayBuffer>, prompt: number): Promise<Float32Array> {
  const model = await openOnnx(bytes)
  try {
    const names = model.inputs().map(({ name }) => name)
    const pasts = model.inputs().filter(({ name }) => name.startsWith('past_'))
    let caches: Batch = Object.fromEntries(pasts.map(({ name, shape = [] }) => [name, { dtype: 'float32', shape: [1, Number(shape[1]), 0, Number(shape[3])], data: new Float32Array() }]))
    const out: number[] = []
    for (let at = 0; at < TOKENS.length; ) {
      const end = at === 0 ? prompt : at + 1
      const positions = Array.from({ length: end - at }, (_, i) => at + i)
      const answer = await model.run({
        input_ids: int64(TOKENS.subarray(at, end), [1, end - at]),
        attention_mask: int64(Array.from({ length: end }, () => 1), [1, end]),
        ...(names.includes('position_ids') ? { position_ids: int64(positions, [1, end - at]) } : {}),
        num_logits_to_keep: int64([at === 0 ? 0 : 1], []),
        ...caches,
      })
      out.push(...(answer['logits'].data as Float32Array))
      caches = Object.fromEntries(pasts.map(({ name }) => [name, answer[name.replace('past_key_values', 'present')]]))
      at = end
    }
    return Float32Array.from(out)
  } finally {
    await model.dispose()
  }
}

describe('a decoder as ONNX', () => {
  const cases: readonly (readonly [string, Scheme, Readonly<Record<string, Json>>])[] = [
    ['llama', int4({ group: 32 }), { attention: 'gqa', accuracyLevel: 0 }],
    ['llama', uint4({ group: 16, symmetric: false }), { attention: 'plain', accuracyLevel: 0 }],
    ['qwen2', int4({ group: 32 }), { attention: 'gqa', accuracyLevel: 0 }],
    ['qwen3', int4({ group: 32 }), { attention: 'plain', accuracyLevel: 0 }],
    ['gemma3', int4({ group: 32 }), { attention: 'gqa', accuracyLevel: 0 }],
    ['gemma3', int4({ group: 32 }), { attention: 'plain', accuracyLevel: 0 }],
  ]
  it.each(cases)('computes in ONNX Runtime what the host does: %s, %j, %j', async (name, weights, settings) => {
    const own = await host(name)
    try {
      const { artifact, report } = await quantize(own, { format: 'onnx', weights, settings })
      expect(report.sites.filter((s) => s.status === 'float')).toEqual([])
      const expected = (await own.run({ tokens: { dtype: 'int32', shape: [1, TOKENS.length], data: TOKENS } }))['logits'].data as Float32Array
      const found = await logitsOf(artifact.bytes(), 11)
      expect(found).toHaveLength(expected.length)
      const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
      expect(found.reduce((most, v, i) => Math.max(most, Math.abs(v - expected[i])), 0) / largest).toBeLessThan(1e-4)
    } finally {
      await own.dispose()
    }
  })
})

/** A folder as it is saved. */
async function folderModel(artifact: Artifact): Promise<ModelFile> {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-lm-'))
  try {
    await artifact.save(join(folder, 'model'))
    const names = readdirSync(join(folder, 'model'))
    return await openModelFile(filesInMemory(Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(folder, 'model', name)))])), 'artifact'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** An artifact of any format, as a model that takes windows of tokens. */
async function reopen(artifact: Artifact): Promise<ReopenedModel> {
  if (artifact.format !== 'onnx') {
    const file = artifact.format === 'gguf' ? await openModelFile(memorySource(artifact.bytes(), 'artifact')) : await folderModel(artifact)
    const parts = new Map(partsOf(file.weights.config).map((part) => [part.name, part]))
    const floats = [...parts.values()].filter((part) => part.kind === 'matrix' && /^B?F\d/.test(file.weights.typeOf(part))).map(({ name }) => name)
    const reopened = await openCausalLmHost(file, { kernels: 'float' })
    return { floatSites: reopened.sites().filter(({ id, tiedTo }) => floats.includes(tiedTo ?? id)).map(({ id }) => id), run: (batch) => reopened.run(batch), dispose: () => reopened.dispose() }
  }
  const model = await openOnnx(inFloat(artifact.bytes()))
  const names = model.inputs().map(({ name }) => name)
  const pasts = model.inputs().filter(({ name }) => name.startsWith('past_'))
  return {
    async run({ tokens }) {
      const { shape: [count = 0, length = 0] } = tokens
      const { logits } = await model.run({
        input_ids: int64(tokens.data as Int32Array, [count, length]),
        attention_mask: int64(Array.from({ length: count * length }, () => 1), [count, length]),
        ...(names.includes('num_logits_to_keep') ? { num_logits_to_keep: int64([0], []) } : {}),
        ...(names.includes('position_ids') ? { position_ids: int64(Array.from({ length: count * length }, (_, i) => i % length), [count, length]) } : {}),
        ...Object.fromEntries(pasts.map(({ name, shape = [] }) => [name, { dtype: 'float32' as const, shape: [count, Number(shape[1]), 0, Number(shape[3])], data: new Float32Array() }])),
      })
      return { logits }
    },
    dispose: () => model.dispose(),
  }
}

/** Without leave to round activations to int8 a block, so that what is left is what the codes compute. */
function inFloat(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const model = readOnnx(bytes)
  for (const node of model.graph?.node ?? []) node.attribute = node.attribute.filter(({ name }) => name !== 'accuracy_level')
  return writeOnnx(model)
}

artifactSuite({ runner: { describe, it }, factory: () => host('llama'), batches: [{ tokens: { dtype: 'int32', shape: [2, 10], data: TOKENS } }], reopen, bound: 1e-3 })
