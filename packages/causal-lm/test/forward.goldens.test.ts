import { expect } from 'vitest'
import { referenceOps, referenceProgram, referenceValues, dequantize, type HostTensor, type Program } from '@lowbit/core'
import { compileFloat, decoderProgram, huggingFaceConfig, huggingFaceWeights, runDifferentiable, type DecoderProgramOptions, type ModelConfig } from '@lowbit/causal-lm'
import { difference, goldenNumbers, inputTensor, runGoldens, type GoldenCase, type GoldenSet } from '../../../tools/goldens.js'
import { bindingsOf, type Bindings } from './support/bindings.js'
import { readFolder } from './support/read-folder.js'

/** How far the interpreters may lie from each other on any layer: the longest sums here have 80 terms of about 1. */
const AGREE = { abs: 2e-5, rel: 2e-5 }
const CONTEXT = 64

const known = new Map<string, Promise<{ readonly config: ModelConfig; readonly bindings: Bindings }>>()

function model(golden: GoldenCase, set: GoldenSet): Promise<{ readonly config: ModelConfig; readonly bindings: Bindings }> {
  const path = `${set.folder}/${String(golden.params['folder'])}`
  let found = known.get(path)
  if (found === undefined) {
    const source = huggingFaceWeights(readFolder(path))
    found = bindingsOf(source, CONTEXT).then((bindings) => ({ config: source.config, bindings }))
    known.set(path, found)
  }
  return found
}

const program = (config: ModelConfig, options: Partial<DecoderProgramOptions>): Program => decoderProgram(config, { rows: 32, wanted: 32, context: CONTEXT, cache: 'float32', activations: 'float32', ...options })

const stack = (parts: readonly HostTensor<'float32'>[]): HostTensor<'float32'> => ({ dtype: 'float32', shape: [parts.reduce((sum, { shape: [rows] }) => sum + rows, 0), parts[0].shape[1]], data: Float32Array.from(parts.flatMap(({ data }) => [...data])) })

function expectAgreement(got: ArrayLike<number>, want: ArrayLike<number>, what: string): void {
  const wrong = difference(got, want, AGREE)
  if (wrong !== undefined) expect.fail(`${what}: ${wrong}`)
}

async function forward(golden: GoldenCase, set: GoldenSet): Promise<Record<string, HostTensor>> {
  const { config, bindings } = await model(golden, set)
  const tokens = [...goldenNumbers(inputTensor(set, golden, 'ids'))]
  const traced = program(config, { trace: true })
  const input = { tokens, start: 0, wanted: tokens.length }
  const float = compileFloat(traced, bindings)
  const logits = float.run(input)

  const reference = referenceProgram(traced, bindings)
  expectAgreement(logits.data, reference.run(input), 'logits of the reference')
  const layers = Array.from({ length: config.layers + 1 }, (_, i) => `hidden.${i}`)
  for (const layer of layers) expectAgreement(float.read(layer).data, reference.read(layer), `${layer} of the reference`)

  // Over differentiable operations; a model that rounds its inputs is left out, since there the rounding is the caller's.
  if (!config.roundedInputs) {
    const { ops } = referenceOps()
    const run = runDifferentiable(ops, traced, {
      matrix: (name) => {
        const m = bindings.matrices[name]
        const { data, shape } = 'scheme' in m ? dequantize(m) : (m as HostTensor<'float32'>)
        return ops.constant(data, shape)
      },
      vector: (name) => ops.constant(bindings.vectors[name]),
    }, [tokens, tokens], tokens.length)
    const twice = referenceValues(run.output)
    expectAgreement(twice.subarray(0, logits.data.length), logits.data, 'logits of differentiable operations')
    expectAgreement(twice.subarray(logits.data.length), logits.data, 'logits of the second sequence')
    for (const layer of layers) expectAgreement(referenceValues(run.read(layer)).subarray(0, float.read(layer).data.length), float.read(layer).data, `${layer} of differentiable operations`)
  }

  // transformers gives the last hidden state after the final norm: `last` here.
  const hidden = [...layers.slice(0, -1), 'last'].map((buffer) => float.read(buffer))
  return { logits, hidden: { dtype: 'float32', shape: [hidden.length, ...hidden[0].shape], data: stack(hidden).data } }
}

async function cached(golden: GoldenCase, set: GoldenSet): Promise<Record<string, HostTensor>> {
  const { config, bindings } = await model(golden, set)
  const tokens = [...goldenNumbers(inputTensor(set, golden, 'ids'))]
  const float = compileFloat(program(config, {}), bindings)
  let start = 0
  const pieces = (golden.params['steps'] as readonly number[]).map((count) => {
    const piece = float.run({ tokens: tokens.slice(start, start + count), start, wanted: count })
    start += count
    return piece
  })
  expect(start).toBe(tokens.length)
  return { logits: stack(pieces) }
}

const kindOf = (golden: GoldenCase): string => String(golden.extra['kind']).replace(/-.*/, '')

runGoldens('lm-forward', {
  async forward(golden, set) {
    const results = await forward(golden, set)
    // The same model as transformers 5 would write its configuration.
    const { config } = await model(golden, set)
    const old = new Set(['rope_theta', 'rope_scaling', 'rope_local_base_freq', 'sliding_window_pattern'])
    const kept = Object.entries(readFolder(`${set.folder}/${String(golden.params['folder'])}`).config).filter(([key]) => !old.has(key))
    const rewritten = { ...Object.fromEntries(kept), ...(golden.params['configAsTransformers5WritesIt'] as Record<string, unknown>) }
    expect(huggingFaceConfig(rewritten)).toEqual(config)
    return results
  },
  cached,
}, { kindOf })
