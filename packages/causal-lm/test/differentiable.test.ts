import { describe, expect, it } from 'vitest'
import { referenceOps, referenceValues, type Differentiator, type HostTensor } from '@lowbit/core'
import { tfjsDifferentiator } from '@lowbit/backend-tfjs'
import { ARCHITECTURES, compileFloat, decoderProgram, huggingFaceWeights, runDifferentiable } from '@lowbit/causal-lm'
import { tf, useBackend } from '../../backend-tfjs/test/load-tf.js'
import { bindingsOf, type Bindings } from './support/bindings.js'
import { tinyFolder } from './support/tiny-model.js'

const TOKENS = [1, 17, 44, 9, 80, 23, 5, 61, 30, 12, 7, 33]
const CONTEXT = 32
const VECTORS = ['norm', 'layers.0.attention.norm', 'layers.1.mlp.norm']
const MATRICES = ['embed', 'layers.0.k', 'layers.1.o', 'layers.0.gate', 'layers.1.down']

async function tiny(name: string): Promise<{ readonly bindings: Bindings; readonly program: ReturnType<typeof decoderProgram> }> {
  const source = huggingFaceWeights(tinyFolder(name))
  return { bindings: await bindingsOf(source, CONTEXT), program: decoderProgram(source.config, { rows: 16, wanted: 16, context: CONTEXT, cache: 'float32', activations: 'float32', trace: true }) }
}

/** Loss `Σ logits · dy` of the last four positions, and its gradients to some weights. */
function gradients<T>({ ops, vjp }: Differentiator<T>, { bindings, program }: Awaited<ReturnType<typeof tiny>>): { readonly y: T; readonly gradients: readonly T[] } {
  const names = [...MATRICES, ...VECTORS]
  const constant = (name: string): T => {
    const m = bindings.matrices[name] as HostTensor<'float32'> | undefined
    return m === undefined ? ops.constant(bindings.vectors[name]) : ops.constant(m.data, m.shape)
  }
  const dy = Float32Array.from({ length: 4 * 96 }, (_, i) => Math.sin(i))
  return vjp((inputs) => runDifferentiable(ops, program, {
    matrix: (name) => (names.includes(name) ? inputs[names.indexOf(name)] : constant(name)),
    vector: (name) => (names.includes(name) ? inputs[names.indexOf(name)] : constant(name)),
  }, [TOKENS], 4).output, names.map(constant), ops.constant(dy, [4, 96]))
}

describe.each(ARCHITECTURES.map(({ name }) => name))('%s over TensorFlow.js', (name) => {
  it('computes every layer as the interpreter does, and gradients as the reference does', async () => {
    await useBackend('cpu')
    const model = await tiny(name)
    const differentiator = tfjsDifferentiator(tf)
    const float = compileFloat(model.program, model.bindings)
    const logits = float.run({ tokens: TOKENS, start: 0, wanted: 4 })

    const { ops } = differentiator
    const run = runDifferentiable(ops, model.program, {
      matrix: (matrix) => {
        const { data, shape } = model.bindings.matrices[matrix] as HostTensor<'float32'>
        return ops.constant(data, shape)
      },
      vector: (vector) => ops.constant(model.bindings.vectors[vector]),
    }, [TOKENS], 4)
    const near = (got: Float32Array, want: ArrayLike<number>, what: string, share: number): void => {
      const largest = Array.from(want).reduce((most, v) => Math.max(most, Math.abs(v)), 0)
      const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - want[i])), 0)
      expect(got.length, what).toBe(want.length)
      expect(worst, what).toBeLessThan(share * largest)
    }
    // float32 sums in another order: 2^-24 times some sixty steps.
    for (const layer of ['hidden.0', 'hidden.1', 'hidden.2']) near(await differentiator.read(run.read(layer)), float.read(layer).data, layer, 2e-5)
    near(await differentiator.read(run.output), logits.data, 'logits', 2e-5)

    const theirs = gradients(differentiator, model)
    const ours = gradients(referenceOps(), model)
    for (const [i, weight] of [...MATRICES, ...VECTORS].entries()) near(await differentiator.read(theirs.gradients[i]), referenceValues(ours.gradients[i]), `gradient of ${weight}`, 2e-4)
  })
})

describe('differentiable runs', () => {
  it('refuse sequences of different lengths, tokens without a row, and positions that are not there', async () => {
    const { bindings, program } = await tiny('llama')
    const { ops } = referenceOps()
    const bound = { matrix: (name: string) => ops.constant((bindings.matrices[name] as HostTensor<'float32'>).data, bindings.matrices[name].shape), vector: (name: string) => ops.constant(bindings.vectors[name]) }
    const run = (tokens: readonly (readonly number[])[], wanted: number) => (): unknown => runDifferentiable(ops, program, bound, tokens, wanted)
    expect(run([[1, 2], [3]], 1)).toThrow('LOWBIT_SHAPE')
    expect(run([], 1)).toThrow('LOWBIT_SHAPE')
    expect(run([[1, 96]], 1)).toThrow('LOWBIT_DATA')
    expect(run([[1, 2]], 3)).toThrow('LOWBIT_LIMIT')
    expect(run([Array.from({ length: 33 }, () => 1)], 1)).toThrow('LOWBIT_LIMIT')
  })
})
