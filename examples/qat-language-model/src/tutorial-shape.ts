import { lora } from '@lowbit/algos-lora'
import { openCausalLm, partsOf, huggingFaceConfig, type WeightSource } from '@lowbit/causal-lm'
import { fineTune, mergeTrained, modelFolder, packSamples, saveFolder, trainableFrom } from '@lowbit/causal-lm/train'
import { int4, LowbitError, type TrainingBackend } from '@lowbit/core'

/** Models by their sizes alone; `config.json` as the model has it. */
const SHAPES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'qwen2.5-0.5b': {
    model_type: 'qwen2', vocab_size: 151_936, hidden_size: 896, num_hidden_layers: 24, num_attention_heads: 14, num_key_value_heads: 2, intermediate_size: 4864,
    rms_norm_eps: 1e-6, rope_theta: 1e6, max_position_embeddings: 32_768, tie_word_embeddings: true,
  },
  tiny: {
    model_type: 'qwen2', vocab_size: 300, hidden_size: 64, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 160,
    rms_norm_eps: 1e-6, rope_theta: 1e6, max_position_embeddings: 512, tie_word_embeddings: true,
  },
}

/** Groups that divide the width of Qwen2.5-0.5B and leave 160 of 4864 at the end of a row. */
const GROUP = { 'qwen2.5-0.5b': 224, tiny: 48 } as const

/**
 * The shape of a larger model with random weights: half of its layers, int4 in groups, an adapter of rank 8 beside them for two
 * steps, merged, saved, opened and run. (All weights of it at once would take 5 GB to train.)
 */
export async function tutorialShape<T>(name: string, backend: TrainingBackend<T>, output: string): Promise<void> {
  if (!Object.hasOwn(SHAPES, name)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--shape', found: name, expected: Object.keys(SHAPES).join(', ') })
  const source = randomSource(name, SHAPES[name])
  const layers = source.config.layers / 2
  const began = performance.now()
  const tell = (what: string): void => console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${what}, peak ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB`)
  const model = await trainableFrom(source, { backend, layers, recompute: 1, logitRows: 16, adapter: { algorithm: lora({ rank: 8 }), base: int4({ group: GROUP[name as keyof typeof GROUP] }) } })
  tell(`prepared: ${layers} layers, ${model.parts.frozen.size} matrices, the layers' as int4 in groups of ${GROUP[name as keyof typeof GROUP]}`)
  const windows = packSamples([{ tokens: Array.from({ length: 80 }, (_, i) => (i * 7919) % source.config.vocabulary) }], 32)
  const { losses } = await fineTune(model, { windows, steps: 2, batch: 1, learningRate: 1e-4, warmup: 0 })
  tell(`two steps: ${losses.map(([, loss]) => loss.toFixed(3)).join(', ')}`)
  const merged = mergeTrained(model, 'codes')
  model.dispose()
  tell('converted')
  const folder = `${output}/${name}`
  await saveFolder(folder, await modelFolder(merged.model))
  tell('saved')
  using opened = await openCausalLm(folder, { context: 64, tokenizer: 'none' })
  tell(`opened on ${opened.engine}`)
  const session = opened.session({ context: 64 })
  let logits = await session.score([1, 2, 3], 1)
  const written: number[] = []
  for (let i = 0; i < 8; i++) {
    const next = logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))
    written.push(next)
    logits = await session.score([next], 1)
  }
  tell(`wrote tokens ${written.join(' ')}`)
  session.dispose()
}

/** Weights that are made when they are asked for, the same each time. */
function randomSource(name: string, json: Readonly<Record<string, unknown>>): WeightSource {
  const config = huggingFaceConfig(json, name)
  const values = (part: string, length: number, from: number, spread: number, middle: number): Float32Array<ArrayBuffer> => {
    let seed = [...part].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5) >>> 0
    const out = new Float32Array(length)
    for (let i = 0; i < length; i++) {
      seed = (Math.imul(seed ^ (from + i), 0x9e3779b1) + 0x7f4a7c15) >>> 0
      out[i] = middle + (seed / 2 ** 31 - 1) * spread
    }
    return out
  }
  const matrix = (part: { readonly name: string; readonly shape: readonly number[] }) => values(part.name, part.shape[0] * part.shape[1], 0, Math.sqrt(3 / part.shape[1]), 0)
  return {
    name, format: 'huggingface', config, notes: [], typeOf: () => 'F32', fingerprint: () => name, close: () => Promise.resolve(),
    bytes: 4 * partsOf(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    matrix: (part) => Promise.resolve({ dtype: 'float32', shape: part.shape, data: matrix(part) }),
    rows: (part, from, count) => Promise.resolve(matrix(part).slice(from * part.shape[1], (from + count) * part.shape[1])),
    vector: (part) => Promise.resolve(values(part.name, part.shape[0], 0, 0.02, part.role.endsWith('norm') ? 1 : 0)),
  }
}
