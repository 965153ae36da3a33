import type { CacheType, Program, ProgramProduct, ProgramStep } from '@lowbit/core'
import { layerName, type LayerRole } from '../architecture/index.js'
import type { ModelConfig } from '../config/model-config.js'
import { architectureOf, headName, partsOf } from './parts.js'

/** How a decoder is to be run. */
export interface DecoderProgramOptions {
  /** Most tokens of one run. */
  readonly rows: number
  /** Most tokens of one run that logits are wanted for. */
  readonly wanted: number
  /** Positions of the caches. */
  readonly context: number
  readonly cache: CacheType
  /** Inputs of quantized matrices: codes with a scale for each group of the weights, or floats. A model that was trained with rounded inputs always has `int8` with a scale a token, as it learned; its head has floats. */
  readonly activations: 'int8' | 'float32'
  /** Keep the residual stream in buffers `hidden.0` (the embedding) to `hidden.<layers>` (before the last norm). Default false. */
  readonly trace?: boolean
}

/**
 * The forward pass of a decoder as a list of operations: the one place where it is written. Core's reference, the float
 * interpreter, the differentiable one and the kernels all run this list.
 */
export function decoderProgram(config: ModelConfig, options: DecoderProgramOptions): Program {
  const { width, heads, kvHeads, headSize, hidden, vocabulary, biases, layers } = config
  const { norms, activation } = architectureOf(config)
  const { epsilon } = config
  const inputs = options.activations === 'int8' ? 'int8-group' : 'float32'
  const activations = config.roundedInputs ? 'int8' : inputs
  const steps: ProgramStep[] = []
  const trace = (index: number): void => {
    if (options.trace === true) steps.push({ op: 'copy', from: 'x', to: `hidden.${index}` })
  }
  steps.push({ op: 'embed', matrix: 'embed', to: 'x', ...(config.embeddingScale === 1 ? {} : { by: config.embeddingScale }) })
  trace(0)
  for (let layer = 0; layer < layers; layer++) {
    const of = (role: LayerRole): string => layerName(layer, role)
    const product = (role: 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down', to: string, bias: boolean): ProgramProduct => ({ matrix: of(role), to, ...(bias ? { bias: of(`${role}.bias`) } : {}) })
    const window = config.windows[layer]
    const angles = window !== undefined && config.localRotary !== undefined ? 'local' : 'full'
    steps.push(
      { op: 'norm', from: 'x', to: 'h', epsilon, gain: of('attention.norm') },
      { op: 'linear', from: 'h', products: [product('q', 'q', biases.qkv), product('k', 'k', biases.qkv), product('v', 'v', biases.qkv)], activations },
    )
    if (norms.heads) {
      steps.push(
        { op: 'norm', from: 'q', to: 'q', epsilon, gain: of('q.norm'), segments: heads },
        { op: 'norm', from: 'k', to: 'k', epsilon, gain: of('k.norm'), segments: kvHeads },
      )
    }
    for (const [buffer, count] of [['q', heads], ['k', kvHeads]] as const) {
      steps.push({ op: 'rope', buffer, heads: count, rotated: headSize, cos: `cos.${angles}`, sin: `sin.${angles}`, style: 'halves' })
    }
    steps.push(
      { op: 'append', cache: `layers.${layer}`, keys: 'k', values: 'v' },
      {
        op: 'attention', queries: 'q', cache: `layers.${layer}`, to: 'a', heads, scale: config.attentionScale,
        ...(window === undefined ? {} : { window }), ...(config.attentionSoftcap === undefined ? {} : { softcap: config.attentionSoftcap }),
      },
    )
    if (norms.sub) steps.push({ op: 'norm', from: 'a', to: 'a', epsilon, gain: of('attention.sub-norm') })
    steps.push({ op: 'linear', from: 'a', products: [product('o', 'h', biases.output)], activations })
    if (norms.post) steps.push({ op: 'norm', from: 'h', to: 'h', epsilon, gain: of('attention.post-norm') })
    steps.push(
      { op: 'add', a: 'x', b: 'h', to: 'x' },
      { op: 'norm', from: 'x', to: 'h', epsilon, gain: of('mlp.norm') },
      { op: 'linear', from: 'h', products: [product('gate', 'gate', biases.mlp), product('up', 'up', biases.mlp)], activations },
      { op: 'gate', gate: 'gate', up: 'up', to: 'gate', activation },
    )
    if (norms.sub) steps.push({ op: 'norm', from: 'gate', to: 'gate', epsilon, gain: of('mlp.sub-norm') })
    steps.push({ op: 'linear', from: 'gate', products: [product('down', 'h', biases.mlp)], activations })
    if (norms.post) steps.push({ op: 'norm', from: 'h', to: 'h', epsilon, gain: of('mlp.post-norm') })
    steps.push({ op: 'add', a: 'x', b: 'h', to: 'x' })
    trace(layer + 1)
  }
  steps.push(
    { op: 'select', from: 'x', to: 'last' },
    { op: 'norm', from: 'last', to: 'last', epsilon, gain: 'norm' },
    { op: 'linear', from: 'last', products: [{ matrix: headName(config), to: 'logits' }], activations: config.roundedInputs ? 'float32' : inputs },
  )
  if (config.outputSoftcap !== undefined) steps.push({ op: 'softcap', from: 'logits', to: 'logits', cap: config.outputSoftcap })

  const parts = partsOf(config)
  const tables = config.localRotary === undefined || config.windows.every((window) => window === undefined) ? ['full'] : ['full', 'local']
  const table = (options.context * headSize) / 2
  return {
    rows: options.rows,
    wanted: options.wanted,
    context: options.context,
    matrices: Object.fromEntries(parts.filter(({ kind }) => kind === 'matrix').map(({ name, shape: [rows, columns] }) => [name, { rows, columns }])),
    vectors: {
      ...Object.fromEntries(parts.filter(({ kind }) => kind === 'vector').map(({ name, shape: [length] }) => [name, length])),
      ...Object.fromEntries(tables.flatMap((name) => [[`cos.${name}`, table], [`sin.${name}`, table]])),
    },
    buffers: {
      x: { width }, h: { width }, q: { width: heads * headSize }, k: { width: kvHeads * headSize }, v: { width: kvHeads * headSize }, a: { width: heads * headSize },
      gate: { width: hidden }, up: { width: hidden }, last: { width, rows: 'wanted' }, logits: { width: vocabulary, rows: 'wanted' },
      ...(options.trace === true ? Object.fromEntries(Array.from({ length: layers + 1 }, (_, i) => [`hidden.${i}`, { width }])) : {}),
    },
    caches: Object.fromEntries(Array.from({ length: layers }, (_, layer) => [`layers.${layer}`, { heads: kvHeads, size: headSize, type: options.cache }])),
    steps,
    output: 'logits',
  }
}
