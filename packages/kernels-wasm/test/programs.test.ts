import { programSuite } from '@lowbit/core/testkit'
import { describe, it } from 'vitest'
import { createWasmKernels, type WasmKernelOptions } from '../src/index.js'

const VARIANTS: readonly WasmKernelOptions[] = [{ tier: 'simd128', threads: 1 }, { tier: 'simd128', threads: 2 }, { threads: 1 }]

for (const variant of VARIANTS) {
  const factory = () => createWasmKernels(variant)
  const probe = await factory()
  const { supports } = probe
  probe.dispose()
  programSuite({ runner: { describe, it }, factory, supports })
}
