import { kernelSuite } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { createWasmKernels } from '../src/index.js'
import { digest } from './engine/digest.js'
import { programDigest } from './engine/program-digest.js'

const runner = { describe, it }
const best = await createWasmKernels()
const { supports } = best
best.dispose()

kernelSuite({ runner, factory: () => createWasmKernels({ threads: 1 }), supports: { ...supports, threads: 1 }, rounds: 3 })

describe('in this browser', () => {
  it('gives the bits of plain TypeScript on every tier, with threads where the page is isolated', async () => {
    const scalar = await createWasmKernels({ tier: 'scalar' })
    const wanted = `${digest(scalar)} ${programDigest(scalar)}`
    for (const options of [{ tier: 'simd128' as const, threads: 1 }, { threads: 1 }, { threads: 2 }]) {
      const kernels = await createWasmKernels(options)
      expect(`${digest(kernels)} ${programDigest(kernels)}`, kernels.supports.tier).toBe(wanted)
      kernels.dispose()
    }
  })

  it('starts threads exactly where memory can be shared', async () => {
    const kernels = await createWasmKernels({ threads: 2 })
    expect(kernels.supports.threads).toBe(globalThis.crossOriginIsolated ? 2 : 1)
    if (!globalThis.crossOriginIsolated) expect(kernels.supports.findings.join()).toContain('not cross-origin isolated')
    kernels.dispose()
  })
})
