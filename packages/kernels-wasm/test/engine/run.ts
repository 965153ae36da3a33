/** Runs the kernel suite and the digest on the Node that runs this file; one JSON line at the end. */
import { kernelSuite } from '@lowbit/core/testkit'
import { createWasmKernels, probeRelaxedSimd, type Tier } from '../../src/index.js'
import { digest } from './digest.js'

const tests: { name: string; body: () => void | Promise<void> }[] = []
const path: string[] = []
const runner = {
  describe(name: string, body: () => void): void {
    path.push(name)
    body()
    path.pop()
  },
  it(name: string, body: () => void | Promise<void>): void {
    tests.push({ name: [...path, name].join(' › '), body })
  },
}
const failures: string[] = []
const digests: Record<string, string> = {}
const tiers: (Tier | undefined)[] = ['scalar', 'simd128', undefined]
for (const tier of tiers) {
  for (const threads of tier === 'scalar' ? [1] : [1, 2]) {
    const options = { threads, ...(tier === undefined ? {} : { tier }) }
    const kernels = await createWasmKernels(options)
    digests[`${kernels.supports.tier}/${threads}`] = digest(kernels)
    kernels.dispose()
    if (tier === undefined) kernelSuite({ runner, factory: () => createWasmKernels(options), supports: kernels.supports, rounds: 3 })
  }
}
for (const { name, body } of tests) {
  try {
    await body()
  } catch (error) {
    failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
console.log(JSON.stringify({ node: process.versions.node, probe: probeRelaxedSimd(), digests, tests: tests.length, failures }))
