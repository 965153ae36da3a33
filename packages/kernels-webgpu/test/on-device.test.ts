import { isLowbitError, tensor, type QTensor } from '@lowbit/core'
import { exactProduct, toyActivations, toyWeights } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { createWebGpuKernels, type GpuInput } from '../src/index.js'
import { adapter } from './adapter.js'

const { gpu, reason } = adapter
const int4 = { name: '', dtype: 'int4', group: 32 } as const

/** GPUBufferUsage.STORAGE and COPY_DST: Node has no such global. */
const STORAGE = 128
const COPY_DST = 8

function upload(device: GPUDevice, values: Float32Array<ArrayBuffer>): GPUBuffer {
  const buffer = device.createBuffer({ size: values.byteLength, usage: STORAGE | COPY_DST })
  device.queue.writeBuffer(buffer, 0, values)
  return buffer
}

async function own(factory: GPU): Promise<GPUDevice> {
  const found = await factory.requestAdapter()
  if (found === null) throw new Error('no adapter')
  return found.requestDevice()
}

/** The same weights with scales that halves hold. */
function withHalfScales(q: QTensor): QTensor {
  return { ...q, params: { ...q.params, scales: q.params.scales.map((s) => Math.round(s * 2 ** 14) / 2 ** 14) } }
}

if (gpu === undefined) describe.skip(`kernels webgpu on the device: not run, ${reason}`, () => it('was not run', () => {}))
else {
  describe('on the device', () => {
    it('keeps results until they are read', async () => {
      using kernels = await createWebGpuKernels({ gpu })
      using packed = kernels.prepack(toyWeights(int4, 40, 96, 1))
      const x = toyActivations(2, 96, 2)
      using result = kernels.matmulOnDevice(x, packed)
      expect(result.buffer.size).toBe(2 * 40 * 4)
      expect((await result.read()).data).toEqual((await kernels.matmul(x, packed)).data)
    })

    it('takes activations and bias that are there, and gives what the host gives for codes that are no close call', async () => {
      const device = await own(gpu)
      using kernels = await createWebGpuKernels({ gpu, device })
      const bias = Float32Array.from({ length: 33 }, (_, i) => i / 7)
      const there = upload(device, bias)
      for (const [m, k] of [[1, 70], [3, 128], [9, 200]] as const) {
        for (const weight of [int4, { name: '', dtype: 'int8' }, { name: '', dtype: 'uint4', group: 16, asymmetric: true }, { name: '', dtype: 'ternary', perTensor: true }] as const) {
          using packed = kernels.prepack(toyWeights(weight, 33, k, 3))
          const x = toyActivations(m, k, 4, 'codes')
          const input: GpuInput = { shape: x.shape, buffer: upload(device, Float32Array.from(x.data)) }
          for (const activations of ['int8', 'float32'] as const) {
            using result = kernels.matmulOnDevice(input, packed, { bias: there, activations })
            const wanted = await kernels.matmul(x, packed, undefined, { bias, activations })
            const found = await result.read()
            found.data.forEach((v, i) => expect(Math.abs(v - (wanted.data[i] ?? NaN))).toBeLessThanOrEqual(2 ** -18 * Math.max(1, Math.abs(v)) * 16))
          }
        }
      }
      device.destroy()
    })

    it('runs one layer after another without reading, each code at most one step from the host', async () => {
      using kernels = await createWebGpuKernels({ gpu })
      const first = toyWeights(int4, 64, 96, 5)
      const second = toyWeights({ name: '', dtype: 'int8' }, 20, 64, 6)
      using a = kernels.prepack(first)
      using b = kernels.prepack(second)
      const x = toyActivations(3, 96, 7)
      using hidden = kernels.matmulOnDevice(x, a)
      using result = kernels.matmulOnDevice(hidden, b)
      const middle = await hidden.read()
      const exact = exactProduct(middle, second, undefined, 'int8')
      const found = await result.read()
      found.data.forEach((v, i) => {
        const row = middle.data.subarray(Math.floor(i / 20) * 64, (Math.floor(i / 20) + 1) * 64)
        const step = row.reduce((top, y) => Math.max(top, Math.abs(y)), 0) / 127
        const scale = second.params.scales[i % 20] ?? 0
        // two codes in a row may be a close call
        expect(Math.abs(v - (exact.values[i] ?? NaN))).toBeLessThanOrEqual(2 * step * scale * 128 + 1e-4)
      })
    })

    it('multiplies to the same bits with scales kept as halves', async () => {
      using kernels = await createWebGpuKernels({ gpu })
      for (const weight of [int4, { name: '', dtype: 'uint4', group: 32, asymmetric: true }, { name: '', dtype: 'int8' }] as const) {
        const q = withHalfScales(toyWeights(weight, 19, 160, 8))
        // one row more, whose scale no half holds, keeps the whole table in floats
        const scales = Float32Array.from([...q.params.scales, ...Array.from({ length: q.params.scales.length / 19 }, () => 0.1)])
        const zeroPoints = q.params.zeroPoints === undefined ? {} : { zeroPoints: Int32Array.from([...q.params.zeroPoints, ...Array.from({ length: q.params.zeroPoints.length / 19 }, () => 3)]) }
        const codes = new (q.codes instanceof Uint8Array ? Uint8Array : Int8Array)(20 * 160)
        codes.set(q.codes)
        const more: QTensor = { ...q, shape: [20, 160], codes, params: { shape: [20, ...q.params.shape.slice(1)], scales, ...zeroPoints } }
        using half = kernels.prepack(q)
        using float = kernels.prepack(more)
        expect(half.bytes).toBeLessThan((float.bytes * 19) / 20)
        for (const m of [1, 6]) {
          for (const activations of ['int8', 'float32'] as const) {
            const x = toyActivations(m, 160, 9)
            const y = await kernels.matmul(x, half, undefined, { activations })
            const z = await kernels.matmul(x, float, undefined, { activations })
            for (let i = 0; i < m; i++) expect(y.data.subarray(i * 19, i * 19 + 19)).toEqual(z.data.subarray(i * 20, i * 20 + 19))
          }
        }
      }
    })

    it('refuses buffers that are too small or cannot be read by a shader', async () => {
      const device = await own(gpu)
      using kernels = await createWebGpuKernels({ gpu, device })
      using packed = kernels.prepack(toyWeights(int4, 8, 64, 1))
      const code = (body: () => unknown): unknown => {
        try {
          body()
        } catch (error) {
          return isLowbitError(error) ? error.code : error
        }
        return 'accepted'
      }
      const buffer = upload(device, new Float32Array(64))
      expect(code(() => kernels.matmulOnDevice({ shape: [2, 64], buffer }, packed))).toBe('LOWBIT_SHAPE')
      expect(code(() => kernels.matmulOnDevice({ shape: [1, 63], buffer }, packed))).toBe('LOWBIT_SHAPE')
      expect(code(() => kernels.matmulOnDevice({ shape: [1, 64], buffer: device.createBuffer({ size: 256, usage: COPY_DST }) }, packed))).toBe('LOWBIT_SHAPE')
      expect(code(() => kernels.matmulOnDevice({ shape: [1, 64], buffer }, packed, { bias: upload(device, new Float32Array(7)) }))).toBe('LOWBIT_SHAPE')
      expect(code(() => kernels.matmulOnDevice(tensor('float32', [1, 64], new Float32Array(64)), packed, { bias: new Float32Array(9) }))).toBe('LOWBIT_SHAPE')
      device.destroy()
    })
  })
}
