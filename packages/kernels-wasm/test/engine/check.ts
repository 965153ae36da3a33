/** What an engine does: tiers, bits and the kernel suite, in any engine that runs JavaScript. */
import { kernelSuite, programSuite } from '@lowbit/core/testkit'
import { createWasmKernels, probeRelaxedSimd, type ProbeResult, type Tier } from '../../src/index.js'
import { byteDotMismatches } from './byte-dot.js'
import { digest } from './digest.js'
import { programDigest } from './program-digest.js'
import { Collector } from './collector.js'

export interface EngineFindings {
  readonly probe: ProbeResult
  /** What `createWasmKernels()` takes by itself. */
  readonly chosen: { readonly tier: string; readonly threads: number; readonly findings: readonly string[] }
  /** A number of all results' bits for each tier and number of threads. */
  readonly digests: Readonly<Record<string, string>>
  readonly tests: number
  readonly failures: readonly string[]
}

export async function checkEngine(): Promise<EngineFindings> {
  const collector = new Collector()
  const digests: Record<string, string> = {}
  const tiers: readonly (Tier | undefined)[] = ['scalar', 'simd128', undefined]
  for (const tier of tiers) {
    for (const threads of tier === 'scalar' ? [1] : [1, 2]) {
      const options = { threads, ...(tier === undefined ? {} : { tier }) }
      const kernels = await createWasmKernels(options)
      digests[`${kernels.supports.tier}/${kernels.supports.threads}`] = `${digest(kernels)} ${programDigest(kernels)}`
      kernels.dispose()
      if (tier !== undefined) continue
      const suite = { runner: collector, factory: () => createWasmKernels(options), supports: kernels.supports }
      kernelSuite({ ...suite, rounds: 3 })
      programSuite(suite)
    }
  }
  const chosen = await createWasmKernels()
  chosen.dispose()
  const { tier, threads, findings } = chosen.supports
  const { tests, failures } = await collector.run()
  return { probe: probeRelaxedSimd(), chosen: { tier, threads, findings }, digests, tests, failures: [...failures, ...(await byteDotMismatches())] }
}
