import { describe, expect, it } from 'vitest'
import { createWebGpuKernels } from '../src/index.js'

/** What someone without types may write, and what the message says: said before anything is asked of a device. */
const WRONG: readonly (readonly [string, object, RegExp])[] = [
  ['a misspelt key', { devise: {} }, /createWebGpuKernels\(\{ devise \}\).*did you mean device/s],
  ['a path that there is not', { without: ['subgroup'] }, /createWebGpuKernels\(\{ without\[0\] \}\).*did you mean subgroups/s],
  ['a name in place of a list', { without: 'subgroups' }, /createWebGpuKernels\(\{ without \}\).*a list/s],
  ['an adapter in place of the API', { gpu: { requestDevice: () => undefined } }, /createWebGpuKernels\(\{ gpu \}\).*requestAdapter/s],
  ['a device that is none', { device: 'gpu:0' }, /createWebGpuKernels\(\{ device \}\)/],
]

describe('options of the WebGPU kernels', () => {
  it.each(WRONG)('%s is refused', async (_, options, message) => {
    await expect(createWebGpuKernels(options)).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(createWebGpuKernels(options)).rejects.toThrow(message)
  })
})
