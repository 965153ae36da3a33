import { int4 } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { openCausalLm } from '../src/index.js'

/** No file: options are refused before it is looked for. */
const opened = (options: object): Promise<unknown> => openCausalLm('no-such-file.gguf', options)

/** What someone without types may write, and what the message says. */
const WRONG: readonly (readonly [string, object, RegExp])[] = [
  ['a misspelt key', { contex: 512 }, /openCausalLm\(\{ contex \}\).*did you mean context/s],
  ['no positions', { context: 0 }, /openCausalLm\(\{ context \}\).*at least 1/s],
  ['half a position', { context: 10.5 }, /openCausalLm\(\{ context \}\).*a whole number/s],
  ['no threads', { threads: 0 }, /openCausalLm\(\{ threads \}\).*at least 1/s],
  ['an unknown cache', { cache: 'float-16' }, /openCausalLm\(\{ cache \}\).*did you mean float16/s],
  ['unknown inputs', { activations: 'int4' }, /openCausalLm\(\{ activations \}\)/],
  ['kernels by name', { kernels: 'floats' }, /openCausalLm\(\{ kernels \}\).*did you mean float/s],
  ['a tokenizer by name', { tokenizer: 'gpt2' }, /openCausalLm\(\{ tokenizer \}\)/],
  ['an adapter by path', { adapter: 'adapter.safetensors' }, /openCausalLm\(\{ adapter \}\)/],
  ['a scheme by name', { weights: 'int4' }, /openCausalLm\(\{ weights \}\)/],
  ['a builder that was not called', { embedding: int4 }, /openCausalLm\(\{ embedding \}\)/],
  ['a signal that is none', { signal: true }, /openCausalLm\(\{ signal \}\)/],
]

describe('options of openCausalLm', () => {
  it.each(WRONG)('%s is refused', async (_, options, message) => {
    await expect(opened(options)).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(opened(options)).rejects.toThrow(message)
  })

  it('looks for the file when they are right, also where one is undefined', async () => {
    await expect(opened({ context: 512, threads: undefined, weights: int4(), tokenizer: 'none' })).rejects.toMatchObject({ code: 'LOWBIT_FILE' })
  })
})
