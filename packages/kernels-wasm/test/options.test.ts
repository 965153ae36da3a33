import { describe, expect, it } from 'vitest'
import { createWasmKernels } from '../src/index.js'

/** What someone without types may write, and what the message says. */
const WRONG: readonly (readonly [string, object, RegExp])[] = [
  ['a misspelt key', { thread: 2 }, /createWasmKernels\(\{ thread \}\).*did you mean threads/s],
  ['an unknown tier', { tier: 'simd-128' }, /createWasmKernels\(\{ tier \}\).*did you mean simd128/s],
  ['no threads', { threads: 0 }, /createWasmKernels\(\{ threads \}\).*at least 1/s],
  ['half a thread', { threads: 1.5 }, /a whole number/],
  ['threads that are text, where none are used', { tier: 'scalar', threads: '2' }, /createWasmKernels\(\{ threads \}\)/],
  ['more threads than any machine has', { threads: 1e6 }, /at most \d+/],
  ['an address that is a number', { workerUrl: 1 }, /createWasmKernels\(\{ workerUrl \}\)/],
]

describe('options of the WebAssembly kernels', () => {
  it.each(WRONG)('%s is refused', async (_, options, message) => {
    await expect(createWasmKernels(options)).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(createWasmKernels(options)).rejects.toThrow(message)
  })

  it('takes addresses as text and as URLs, which one thread does not need', async () => {
    for (const workerUrl of ['./worker.js', new URL('https://example.org/worker.js')]) (await createWasmKernels({ tier: 'scalar', workerUrl })).dispose()
  })
})
