import { kernelSuite } from '@lowbit/core/testkit'
import { describe, it } from 'vitest'
import { createWebGpuKernels, type WebGpuKernelOptions } from '../src/index.js'
import { adapter } from './adapter.js'

/** Both paths of each feature, where the device has it. */
const WITHOUT: readonly (readonly [string, NonNullable<WebGpuKernelOptions['without']>])[] = [
  ['every feature of the device', []],
  ['no packed dot product', ['packed_4x8_integer_dot_product']],
  ['no subgroups', ['subgroups']],
  ['neither', ['packed_4x8_integer_dot_product', 'subgroups']],
]

const { gpu, reason } = adapter
if (gpu === undefined) describe.skip(`kernels webgpu: not run, ${reason}`, () => it('was not run', () => {}))
else {
  const tried = new Set<string>()
  for (const [name, without] of WITHOUT) {
    const factory = () => createWebGpuKernels({ gpu, without })
    const first = await factory()
    const { supports } = first
    const paths = JSON.stringify(first.config)
    first.dispose()
    if (tried.has(paths)) continue
    tried.add(paths)
    describe(name, () => {
      kernelSuite({ runner: { describe, it }, factory, supports, ...(without.length === 0 ? { rounds: 3, longest: 11008, tallest: 512 } : { rounds: 1, longest: 300, tallest: 70 }) })
    })
  }
}
