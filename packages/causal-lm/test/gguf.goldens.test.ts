import { expect } from 'vitest'
import { referenceProgram } from '@lowbit/core'
import { openGgufFile } from '@lowbit/formats/node'
import { compileFloat, decoderProgram, ggufWeights } from '@lowbit/causal-lm'
import { difference, goldenNumbers, inputTensor, runGoldens } from '../../../tools/goldens.js'
import { bindingsOf } from './support/bindings.js'

/** Sums of float32 products against the same in double: see forward.goldens.test.ts. */
const AGREE = { abs: 2e-5, rel: 2e-5 }

runGoldens('lm-gguf', {
  async gguf(golden, set) {
    const [file] = golden.extra['files'] as readonly string[]
    await using gguf = await openGgufFile(`${set.folder}/${file}`)
    const source = await ggufWeights(gguf)
    const bindings = await bindingsOf(source, 64)
    const tokens = [...goldenNumbers(inputTensor(set, golden, 'ids'))]
    const program = decoderProgram(source.config, { rows: 32, wanted: 32, context: 64, cache: 'float32', activations: 'float32' })
    const input = { tokens, start: 0, wanted: tokens.length }
    const logits = compileFloat(program, bindings).run(input)
    const wrong = difference(logits.data, referenceProgram(program, bindings).run(input), AGREE)
    if (wrong !== undefined) expect.fail(`logits of the reference: ${wrong}`)
    return { logits }
  },
}, { kindOf: (golden) => String(golden.extra['kind']).replace(/-.*/, '') })
