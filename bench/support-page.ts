/** What `bench/support.ts` runs in a browser. */
import { kernelSuite } from '@lowbit/core/testkit'
import { createWebGpuKernels } from '@lowbit/kernels-webgpu'
import { checkEngine, type EngineFindings } from '../packages/kernels-wasm/test/engine/check.ts'
import { Collector } from '../packages/kernels-wasm/test/engine/collector.ts'

export interface PageFindings extends EngineFindings {
  readonly isolated: boolean
  readonly webgpu: WebGpuFindings
}

/** What the WebGPU suite did, or why there was nothing to run it on. */
export type WebGpuFindings = { readonly findings: readonly string[]; readonly tests: number; readonly failures: readonly string[] } | { readonly absent: string }

export async function check(): Promise<PageFindings> {
  return { isolated: globalThis.crossOriginIsolated, ...(await checkEngine()), webgpu: await checkWebGpu() }
}

export async function checkWebGpu(gpu: GPU | undefined = globalThis.navigator?.gpu): Promise<WebGpuFindings> {
  const options = gpu === undefined ? {} : { gpu }
  try {
    const first = await createWebGpuKernels(options)
    const { supports } = first
    first.dispose()
    const collector = new Collector()
    kernelSuite({ runner: collector, factory: () => createWebGpuKernels(options), supports, rounds: 1, longest: 300, tallest: 40 })
    return { findings: supports.findings, ...(await collector.run()) }
  } catch (error) {
    return { absent: error instanceof Error ? error.message : String(error) }
  }
}
