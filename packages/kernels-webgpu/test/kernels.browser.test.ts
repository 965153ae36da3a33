import { kernelSuite, toyActivations, toyWeights } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { createWebGpuKernels, type WebGpuKernelOptions } from '../src/index.js'

const adapter = await globalThis.navigator?.gpu?.requestAdapter()

if (adapter === null || adapter === undefined) {
  describe.skip('kernels webgpu: not run, this browser gives no adapter (Chromium wants --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader)', () => it('was not run', () => {}))
} else {
  for (const without of [[], ['packed_4x8_integer_dot_product', 'subgroups', 'shader-f16']] satisfies NonNullable<WebGpuKernelOptions['without']>[]) {
    const factory = () => createWebGpuKernels({ without })
    const first = await factory()
    const { supports } = first
    first.dispose()
    describe(without.length === 0 ? `every feature: ${supports.findings.join(', ')}` : 'no feature', () => {
      kernelSuite({ runner: { describe, it }, factory, supports, rounds: 1, longest: 300, tallest: 40 })
    })
  }

  it('keeps a result on the device for the next product', async () => {
    using kernels = await createWebGpuKernels()
    using a = kernels.prepack(toyWeights({ name: '', dtype: 'int4', group: 32 }, 64, 96, 1))
    using b = kernels.prepack(toyWeights({ name: '', dtype: 'int8' }, 20, 64, 2))
    using hidden = kernels.matmulOnDevice(toyActivations(3, 96, 3), a)
    using result = kernels.matmulOnDevice(hidden, b, { activations: 'float32' })
    const wanted = await kernels.matmul(await hidden.read(), b, undefined, { activations: 'float32' })
    expect((await result.read()).data).toEqual(wanted.data)
  })
}
