import { bitLinearInteger, bitLinearOnKernels, bitRows, ternarise } from '@lowbit/algos-bitnet'
import { dequantize, type HostTensor, type QTensor, type SyncKernelProvider } from '@lowbit/core'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seeded } from '../src/random.js'

const random = seeded(11)
const floats = (shape: readonly number[], size = 1): HostTensor<'float32'> => ({ dtype: 'float32', shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => size * (2 * random() - 1)) })
const SHAPES = [[1, 1, 1], [3, 5, 7], [4, 64, 64], [2, 172, 64], [5, 64, 172], [9, 33, 257]] as const

for (const tier of ['simd128', 'scalar', undefined] as const) {
  describe(`bitLinearOnKernels, ${tier ?? 'the fastest tier here'}`, () => {
    let kernels: SyncKernelProvider
    beforeAll(async () => {
      kernels = await createWasmKernels({ threads: 1, ...(tier === undefined ? {} : { tier }) })
    })
    afterAll(() => kernels.dispose())

    for (const [m, n, k] of SHAPES) {
      it(`[${m}, ${k}] × [${k}, ${n}]: the integer sums of the oracle, to the last bit`, async () => {
        // Scales that are powers of two round nothing: what is left of the result is the int32 sum.
        const weight: QTensor = { ...(await ternarise(floats([n, k]))), params: { scales: Float32Array.of(0.25), shape: [] } }
        const x = floats([m, k], 127)
        x.data.forEach((v, i) => (x.data[i] = i % k === 0 ? 127 / 8 : Math.max(-126, Math.round(v)) / 8))
        using layer = bitLinearOnKernels(kernels, weight, { norm: false })
        const got = await layer.forward(x)
        const want = bitLinearInteger(x, weight, { norm: false })
        expect(Array.from(got.data)).toEqual(Array.from(want.values))
        expect(Array.from(got.data, (v) => v * 32)).toEqual(Array.from(want.accumulators))
      })

      it(`[${m}, ${k}] × [${k}, ${n}]: norm, gain and bias, within the kernel's own rounding`, async () => {
        const weight = await ternarise(floats([n, k], 0.3))
        const x = floats([m, k], 4)
        const options = { gain: floats([k]).data, bias: floats([n], 0.1).data }
        using layer = bitLinearOnKernels(kernels, weight, options)
        const got = await layer.forward(x)
        const want = bitLinearInteger(x, weight, options).values
        const rows = bitRows(x, options)
        const values = dequantize(weight).data
        const { perTerm, fixed } = kernels.supports.integerRounding
        want.forEach((v, i) => {
          const row = Math.floor(i / n)
          let size = Math.abs(options.bias[i % n])
          for (let j = 0; j < k; j++) size += Math.abs((rows.codes[row * k + j] / rows.scales[row]) * values[(i % n) * k + j])
          // One group; and the oracle's own value is rounded once.
          expect(Math.abs(got.data[i] - v)).toBeLessThanOrEqual((perTerm + fixed + 1) * 2 ** -24 * size)
        })
      })
    }

    it('refuses weights that are not ternary, and a provider without ternary kernels', async () => {
      const weight = await ternarise(floats([4, 8]))
      expect(() => bitLinearOnKernels(kernels, { ...weight, scheme: { ...weight.scheme, dtype: 'int2' } })).toThrow(/LOWBIT_UNSUPPORTED/)
      const poor = { ...kernels, name: 'poor', supports: { ...kernels.supports, schemes: ['int8/channel'] } } as SyncKernelProvider
      expect(() => bitLinearOnKernels(poor, weight)).toThrow(/LOWBIT_UNSUPPORTED.*bitLinearInteger/)
    })
  })
}
