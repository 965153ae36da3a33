import { programSuite } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { createWasmKernels, type WasmKernelOptions } from '../src/index.js'
import { programDigest } from './engine/program-digest.js'

/** Every tier that runs here, with one thread and with two. */
const VARIANTS: readonly WasmKernelOptions[] = [{ tier: 'scalar' }, { tier: 'simd128', threads: 1 }, { tier: 'simd128', threads: 2 }]

for (const variant of VARIANTS) {
  const factory = () => createWasmKernels(variant)
  const probe = await factory()
  const { supports } = probe
  probe.dispose()
  programSuite({ runner: { describe, it }, factory, supports })
}

describe('programs', () => {
  it('give the same bits on every tier and number of threads', async () => {
    using scalar = await createWasmKernels({ tier: 'scalar' })
    const wanted = programDigest(scalar)
    for (const options of [{ tier: 'simd128', threads: 1 }, { tier: 'simd128', threads: 3 }, { threads: 1 }, { threads: 2 }] as const) {
      using kernels = await createWasmKernels(options)
      expect(programDigest(kernels), JSON.stringify(options)).toBe(wanted)
    }
  })
})
