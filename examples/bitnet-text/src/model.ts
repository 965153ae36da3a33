import type * as tfjs from '@tensorflow/tfjs'
import { bitActivationQuant, bitWeightQuant, rmsNorm } from '@lowbit/algos-bitnet'
import { tfjsOps } from '@lowbit/backend-tfjs'
import { normal, seeded } from './random.js'

export type Tf = typeof tfjs
type Tensor = tfjs.Tensor

/** A decoder of Llama's shape: RMSNorm, rotary positions, grouped queries, gated feed-forward, tied embedding. */
export interface ModelShape {
  readonly vocabulary: number
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly keyHeads: number
  readonly hidden: number
}

export type Linear = 'float' | 'bitnet'

export interface Decoder {
  readonly shape: ModelShape
  readonly linear: Linear
  readonly variables: readonly tfjs.Variable[]
  /** Logits `[batch · time, vocabulary]`. */
  forward(tokens: tfjs.Tensor2D): Tensor
  /** Latent weights of the BitLinear layers by name, `[in, out]`. */
  readonly linears: ReadonlyMap<string, tfjs.Variable>
}

const PARTS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const

/** A fresh model. Both kinds of linear layer start from the same weights for the same seed. */
export function createDecoder(tf: Tf, shape: ModelShape, linear: Linear, seed: number): Decoder {
  const random = seeded(seed)
  const variables: tfjs.Variable[] = []
  const variable = (dims: number[], deviation: number, mean = 0): tfjs.Variable => {
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => mean + deviation * (deviation === 0 ? 0 : normal(random)))
    const v = tf.tidy(() => tf.variable(tf.tensor(values, dims)))
    variables.push(v)
    return v
  }
  const ops = tfjsOps(tf)
  const head = shape.width / shape.heads
  const keyWidth = head * shape.keyHeads
  const sizes: Record<(typeof PARTS)[number], [number, number]> = {
    q: [shape.width, shape.width], k: [shape.width, keyWidth], v: [shape.width, keyWidth], o: [shape.width, shape.width],
    gate: [shape.width, shape.hidden], up: [shape.width, shape.hidden], down: [shape.hidden, shape.width],
  }
  // Tied to the output layer: at the usual 0.02 logits start so flat that the first hundreds of steps are lost.
  const embedding = variable([shape.vocabulary, shape.width], 0.1)
  const linears = new Map<string, tfjs.Variable>()
  const layers = Array.from({ length: shape.layers }, (_, i) => ({
    attentionGain: variable([shape.width], 0, 1),
    feedForwardGain: variable([shape.width], 0, 1),
    weights: Object.fromEntries(PARTS.map((part) => {
      const [rows] = sizes[part]
      const deviation = (part === 'o' || part === 'down' ? 1 / Math.sqrt(2 * shape.layers) : 1) / Math.sqrt(rows)
      const weight = variable(sizes[part], deviation)
      linears.set(`layers.${i}.${part}`, weight)
      return [part, weight]
    })) as Record<(typeof PARTS)[number], tfjs.Variable>,
  }))
  const lastGain = variable([shape.width], 0, 1)

  /**
   * What a linear layer multiplies: BitLinear norms and rounds its input (one rounding serves all layers that read it),
   * the float model has a norm only where a gain stands.
   */
  const prepare = (x: Tensor, gain?: Tensor): Tensor =>
    linear === 'bitnet' ? bitActivationQuant(ops, rmsNorm(ops, x, gain)) : gain === undefined ? x : rmsNorm(ops, x, gain)
  const project = (x: Tensor, weight: Tensor): Tensor => tf.matMul(x, linear === 'bitnet' ? bitWeightQuant(ops, weight) : weight)

  const forward = (tokens: tfjs.Tensor2D): Tensor => {
    const [batch, time] = tokens.shape
    const rotary = rotation(tf, time, head)
    const mask = causalMask(tf, time, shape.heads / shape.keyHeads)
    let x: Tensor = tf.reshape(tf.gather(embedding, tf.reshape(tokens, [-1])), [batch * time, shape.width])
    for (const { attentionGain, feedForwardGain, weights } of layers) {
      const groups = shape.heads / shape.keyHeads
      const split = (t: Tensor, heads: number): Tensor => tf.transpose(tf.reshape(t, [batch, time, heads, head]), [0, 2, 1, 3])
      const seen = prepare(x, attentionGain)
      const q = rotate(tf, split(project(seen, weights.q), shape.heads), rotary)
      const k = rotate(tf, split(project(seen, weights.k), shape.keyHeads), rotary)
      const v = split(project(seen, weights.v), shape.keyHeads)
      const stack = (t: Tensor, rows: number): Tensor => tf.reshape(t, [batch * shape.keyHeads, rows, head])
      const scores = tf.add(tf.mul(tf.matMul(stack(q, groups * time), stack(k, time), false, true), 1 / Math.sqrt(head)), mask)
      const mixed = tf.matMul(tf.softmax(scores), stack(v, time))
      const joined = tf.reshape(tf.transpose(tf.reshape(mixed, [batch, shape.heads, time, head]), [0, 2, 1, 3]), [batch * time, shape.width])
      x = tf.add(x, project(prepare(joined), weights.o))
      const fed = prepare(x, feedForwardGain)
      const gate = project(fed, weights.gate)
      const activated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), project(fed, weights.up))
      x = tf.add(x, project(prepare(activated), weights.down))
    }
    return tf.matMul(rmsNorm(ops, x, lastGain), embedding, false, true)
  }
  return { shape, linear, variables, forward, linears }
}

/** Cosines and sines `[time, head]`, and the matrix that turns a head by a quarter: `x·cos + (x·R)·sin`. */
function rotation(tf: Tf, time: number, head: number): { readonly cos: Tensor; readonly sin: Tensor; readonly quarter: Tensor } {
  const angles = Float32Array.from({ length: time * head }, (_, i) => Math.floor(i / head) / 10000 ** ((2 * Math.floor((i % head) / 2)) / head))
  const quarter = new Float32Array(head * head)
  for (let i = 0; i < head; i += 2) {
    quarter[(i + 1) * head + i] = -1
    quarter[i * head + i + 1] = 1
  }
  return { cos: tf.tensor(angles.map(Math.cos), [time, head]), sin: tf.tensor(angles.map(Math.sin), [time, head]), quarter: tf.tensor(quarter, [head, head]) }
}

function rotate(tf: Tf, x: Tensor, { cos, sin, quarter }: ReturnType<typeof rotation>): Tensor {
  const turned = tf.reshape(tf.matMul(tf.reshape(x, [-1, x.shape[x.shape.length - 1]]), quarter), x.shape)
  return tf.add(tf.mul(x, cos), tf.mul(turned, sin))
}

/** `[groups · time, time]`: nothing looks ahead. */
function causalMask(tf: Tf, time: number, groups: number): Tensor {
  const values = new Float32Array(groups * time * time)
  for (let row = 0; row < groups * time; row++) for (let column = (row % time) + 1; column < time; column++) values[row * time + column] = -1e9
  return tf.tensor(values, [groups * time, time])
}

/** Mean cross-entropy of the next token, with the gradient `softmax - one-hot` written by hand. */
export function crossEntropy(tf: Tf, logits: Tensor, targets: tfjs.Tensor1D): tfjs.Scalar {
  const [rows, vocabulary] = logits.shape
  const loss = tf.customGrad((input, save) => {
    const given = input as Tensor
    const keep = save as unknown
    const probabilities = tf.softmax(given)
    const wanted = tf.cast(tf.oneHot(targets, vocabulary), 'float32')
    if (typeof keep === 'function') keep([probabilities, wanted])
    const likely = tf.maximum(tf.sum(tf.mul(probabilities, wanted), -1), 1e-30)
    return { value: tf.neg(tf.mean(tf.log(likely))), gradFunc: (dy: Tensor, [p, w]: Tensor[]) => tf.mul(tf.sub(p, w), tf.div(dy, rows)) }
  })
  return loss(logits) as tfjs.Scalar
}
