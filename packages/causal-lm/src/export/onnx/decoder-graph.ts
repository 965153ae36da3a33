import { LowbitError, type QTensor } from '@lowbit/core'
import { float, graph, model, valueInfo, type ModelProto } from '@lowbit/formats'
import { layerName, type LayerRole } from '../../architecture/index.js'
import type { ModelConfig } from '../../config/model-config.js'
import { architectureOf, headName, type Part } from '../../forward/parts.js'
import { rotationTables } from '../../forward/rotation-tables.js'
import { GraphBuilder, MICROSOFT } from './graph-builder.js'
import { PlainAttention } from './plain-attention.js'

export interface DecoderGraphOptions {
  /** `gqa`: ONNX Runtime's GroupQueryAttention; `plain`: operators of ONNX alone. */
  readonly attention: 'gqa' | 'plain'
  /** Of MatMulNBits: 4 rounds activations to int8 a block. */
  readonly accuracyLevel: number
  /** An input says for how many of the last tokens logits are wanted. */
  readonly keepsLogits: boolean
  /** Positions that the tables of rotations have. */
  readonly context: number
}

/** What the graph is made of, read when its turn comes. */
export interface GraphWeights {
  readonly parts: ReadonlyMap<string, Part>
  codes(name: string): QTensor | undefined
  floats(part: Part): Promise<Float32Array>
  vector(name: string): Float32Array | undefined
}

/** Opset whose operators runtimes of the last years have. */
const OPSET = 18

/**
 * A decoder with its caches as an ONNX graph, named as transformers.js 4 and ONNX Runtime GenAI name things: `input_ids`,
 * `attention_mask`, `past_key_values.0.key [batch, heads, past, size]` … → `logits`, `present.0.key` …, and `num_logits_to_keep`.
 */
export async function decoderGraph(config: ModelConfig, weights: GraphWeights, options: DecoderGraphOptions): Promise<ModelProto> {
  const b = new GraphBuilder()
  const writer = new DecoderWriter(b, config, weights, options)
  await writer.write()
  const { layers, kvHeads, headSize, vocabulary } = config
  const cache = (prefix: string, length: string): ReturnType<typeof valueInfo>[] => Array.from({ length: layers }, (_, i) => ['key', 'value'].map((kind) => valueInfo(`${prefix}.${i}.${kind}`, 'float32', ['batch_size', kvHeads, length, headSize]))).flat()
  return model(
    graph({
      name: 'decoder',
      nodes: b.nodes,
      initializers: b.initializers,
      inputs: [
        valueInfo('input_ids', 'int64', ['batch_size', 'sequence_length']),
        valueInfo('attention_mask', 'int64', ['batch_size', 'total_sequence_length']),
        ...(options.attention === 'plain' ? [valueInfo('position_ids', 'int64', ['batch_size', 'sequence_length'])] : []),
        ...(options.keepsLogits ? [valueInfo('num_logits_to_keep', 'int64', [])] : []),
        ...cache('past_key_values', 'past_sequence_length'),
      ],
      outputs: [valueInfo('logits', 'float32', ['batch_size', 'num_logits_to_keep', vocabulary]), ...cache('present', 'total_sequence_length')],
    }),
    { '': OPSET, [MICROSOFT]: 1 },
    8,
  )
}

class DecoderWriter {
  readonly #b: GraphBuilder
  readonly #config: ModelConfig
  readonly #weights: GraphWeights
  readonly #options: DecoderGraphOptions
  readonly #plain: PlainAttention | undefined

  constructor(b: GraphBuilder, config: ModelConfig, weights: GraphWeights, options: DecoderGraphOptions) {
    this.#b = b
    this.#config = config
    this.#weights = weights
    this.#options = options
    if (config.roundedInputs) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'ONNX', found: 'a model whose products round their inputs', expected: 'float inputs' })
    this.#plain = options.attention === 'plain' ? new PlainAttention(b, config) : undefined
  }

  async write(): Promise<void> {
    const b = this.#b
    const { layers, embeddingScale, outputSoftcap } = this.#config
    this.#tables()
    let x = await this.#embed()
    if (embeddingScale !== 1) x = b.op('Mul', 'embed.scaled', [x, b.scalar(embeddingScale)])
    const lengths = this.#plain === undefined ? this.#lengths() : undefined
    this.#plain?.begin()
    for (let layer = 0; layer < layers; layer++) x = await this.#layer(layer, x, lengths)
    const normed = this.#norm('norm', this.#options.keepsLogits ? this.#last(x) : x)
    const isCapped = outputSoftcap !== undefined
    const logits = await this.#product('head', headName(this.#config), normed, isCapped ? 'logits.raw' : 'logits')
    if (isCapped) b.op('Mul', 'logits', [b.op('Tanh', 'logits.tanh', [b.op('Div', 'logits.divided', [logits, b.scalar(outputSoftcap)])]), b.scalar(outputSoftcap)])
  }

  /** The last tokens, as many as are asked for: −0 is where all begin, so that nothing asked for keeps everything. */
  #last(x: string): string {
    const b = this.#b
    const first = b.reshape('logits.first', b.op('Neg', 'logits.kept', ['num_logits_to_keep']), [1])
    return b.op('Slice', 'last', [x, first, b.ints([2 ** 31 - 1]), b.ints([1])])
  }

  #tables(): void {
    const { context } = this.#options
    const pairs = this.#config.headSize / 2
    for (const [name, values] of Object.entries(rotationTables(this.#config, context))) this.#b.floats(name, values, [context, pairs])
  }

  async #embed(): Promise<string> {
    const q = this.#weights.codes('embed')
    if (q !== undefined) return this.#b.gatherBlocks('embed', 'input_ids', q)
    const part = this.#part('embed')
    return this.#b.op('Gather', 'embed.rows', [this.#b.floats('embed.weight', await this.#weights.floats(part), part.shape), 'input_ids'], { axis: 0 })
  }

  /** What GroupQueryAttention wants to know of the mask: the last position of each text, and how long all are. */
  #lengths(): readonly [string, string] {
    const b = this.#b
    const INT32 = 6
    const sum = b.op('ReduceSum', 'mask.sum', ['attention_mask', b.ints([1])], { keepdims: 0 })
    const last = b.op('Cast', 'mask.last', [b.op('Sub', 'mask.last64', [sum, b.ints([1])])], { to: INT32 })
    const total = b.op('Gather', 'mask.total64', [b.op('Shape', 'mask.shape', ['attention_mask']), b.constant('one', { dtype: 'int64', shape: [], data: BigInt64Array.of(1n) })], { axis: 0 })
    return [last, b.op('Cast', 'mask.total', [total], { to: INT32 })]
  }

  async #layer(layer: number, input: string, lengths: readonly [string, string] | undefined): Promise<string> {
    const b = this.#b
    const { norms, activation } = architectureOf(this.#config)
    const of = (role: LayerRole): string => layerName(layer, role)
    const product = (role: 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down', x: string): Promise<string> => this.#product(of(role), of(role), x)
    const h = this.#norm(of('attention.norm'), input)
    const [q, k, v] = [this.#headNorm(layer, 'q', await product('q', h)), this.#headNorm(layer, 'k', await product('k', h)), await product('v', h)]
    let a = this.#plain === undefined ? this.#attention(layer, q, k, v, lengths ?? ['', '']) : this.#plain.attention(layer, q, k, v)
    if (norms.sub) a = this.#norm(of('attention.sub-norm'), a)
    let o = await product('o', a)
    if (norms.post) o = this.#norm(of('attention.post-norm'), o)
    const x = b.op('Add', `layers.${layer}.attention.sum`, [input, o])
    const m = this.#norm(of('mlp.norm'), x)
    const [gate, up] = [await product('gate', m), await product('up', m)]
    let hidden = b.op('Mul', `layers.${layer}.mlp.hidden`, [this.#activated(`layers.${layer}.mlp`, gate, activation), up])
    if (norms.sub) hidden = this.#norm(of('mlp.sub-norm'), hidden)
    let down = await product('down', hidden)
    if (norms.post) down = this.#norm(of('mlp.post-norm'), down)
    return b.op('Add', `layers.${layer}.sum`, [x, down])
  }

  #activated(name: string, x: string, activation: 'silu' | 'gelu' | 'relu2'): string {
    const b = this.#b
    if (activation === 'silu') return b.op('Mul', `${name}.silu`, [x, b.op('Sigmoid', `${name}.sigmoid`, [x])])
    if (activation === 'relu2') {
      const positive = b.op('Relu', `${name}.relu`, [x])
      return b.op('Mul', `${name}.relu2`, [positive, positive])
    }
    // The tanh form, which Gelu has from opset 20 on only.
    const cube = b.op('Mul', `${name}.cube`, [b.op('Mul', `${name}.square`, [x, x]), x])
    const inner = b.op('Mul', `${name}.inner`, [b.op('Add', `${name}.bent`, [x, b.op('Mul', `${name}.cubed`, [cube, b.scalar(0.044715)])]), b.scalar(Math.sqrt(2 / Math.PI))])
    const half = b.op('Mul', `${name}.half`, [x, b.scalar(0.5)])
    return b.op('Mul', `${name}.gelu`, [half, b.op('Add', `${name}.gate1`, [b.op('Tanh', `${name}.tanh`, [inner]), b.scalar(1)])])
  }

  #attention(layer: number, q: string, k: string, v: string, [last, total]: readonly [string, string]): string {
    const { heads, kvHeads, attentionScale, attentionSoftcap, windows, localRotary } = this.#config
    const window = windows[layer]
    const tables = window !== undefined && localRotary !== undefined ? 'local' : 'full'
    const [out] = this.#b.ops(
      'GroupQueryAttention',
      `layers.${layer}.attention`,
      [q, k, v, `past_key_values.${layer}.key`, `past_key_values.${layer}.value`, last, total, `cos.${tables}`, `sin.${tables}`],
      [`layers.${layer}.attention.out`, `present.${layer}.key`, `present.${layer}.value`],
      {
        num_heads: heads, kv_num_heads: kvHeads, scale: float(attentionScale), do_rotary: 1, rotary_interleaved: 0,
        ...(window === undefined ? {} : { local_window_size: window }),
        ...(attentionSoftcap === undefined ? {} : { softcap: float(attentionSoftcap) }),
      },
      MICROSOFT,
    )
    return out
  }

  /** RMSNorm over each head of q and k, where the architecture has it. */
  #headNorm(layer: number, role: 'q' | 'k', x: string): string {
    const { heads, kvHeads, headSize } = this.#config
    if (!architectureOf(this.#config).norms.heads) return x
    const count = role === 'q' ? heads : kvHeads
    const name = layerName(layer, `${role}.norm`)
    const split = this.#b.reshape(`${name}.heads`, x, [0, 0, count, headSize])
    return this.#b.reshape(`${name}.joined`, this.#norm(name, split), [0, 0, count * headSize])
  }

  #norm(name: string, x: string): string {
    return this.#b.norm(name, x, this.#vector(name), this.#config.epsilon, this.#options.attention === 'plain')
  }

  /** A product by codes or floats, with its bias. @param site - whose bias it takes */
  async #product(site: string, matrix: string, x: string, as?: string): Promise<string> {
    const b = this.#b
    const q = this.#weights.codes(matrix)
    const bias = this.#weights.vector(`${site}.bias`)
    const base = as ?? `${site}.out`
    const raw = bias === undefined ? base : `${site}.product`
    if (q !== undefined) b.matMulNBits(matrix, x, q, this.#options.accuracyLevel, raw)
    else {
      const part = this.#part(matrix)
      const weight = b.floats(`${matrix}.weight`, await this.#weights.floats(part), part.shape)
      b.op('MatMul', raw, [x, b.op('Transpose', `${site}.weight.turned`, [weight], { perm: [1, 0] })])
    }
    return bias === undefined ? raw : b.op('Add', base, [raw, b.floats(`${site}.bias`, bias)])
  }

  #part(name: string): Part {
    const part = this.#weights.parts.get(name)
    if (part === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `matrix ${name}`, found: 'the model has none of this name' })
    return part
  }

  #vector(name: string): Float32Array {
    const values = this.#weights.vector(name)
    if (values === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `vector ${name}`, found: 'the model has none of this name' })
    return values
  }
}
