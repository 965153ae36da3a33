import { describe, expect, it } from 'vitest'
import type { ShaderVariant } from '../src/shaders/common.js'
import { dequantize, floats } from '../src/shaders/floats.js'
import { gemm } from '../src/shaders/gemm.js'
import { gemv } from '../src/shaders/gemv.js'
import { HADAMARD } from '../src/shaders/hadamard.js'
import { QUANTIZE } from '../src/shaders/quantize.js'

/** Dawn's null backend has every feature and computes nothing: it checks shaders that no adapter at hand could run. */
async function nullDevice(): Promise<{ gpu?: GPU; device?: GPUDevice; reason: string }> {
  try {
    const { create, globals } = await import('webgpu')
    Object.assign(globalThis, globals)
    const gpu = create(['backend=null'])
    const adapter = await gpu.requestAdapter()
    if (adapter === null) return { reason: 'npm webgpu has no null backend' }
    return { gpu, device: await adapter.requestDevice({ requiredFeatures: ['shader-f16', 'subgroups'] }), reason: '' }
  } catch (error) {
    return { reason: `npm webgpu does not load: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** The whole of it is kept: Dawn ends with its `gpu` object. */
const nothing = await nullDevice()
const { device, reason } = nothing
const both = [false, true]
const VARIANTS: readonly ShaderVariant[] = both.flatMap((dot4) => both.flatMap((subgroups) => both.flatMap((f16) => both.map((half) => ({ dot4, subgroups, f16, half })))))

describe('shaders', () => {
  it.skipIf(device === undefined)(`are valid WGSL on every path, with and without each feature${device === undefined ? ` (skipped: ${reason})` : ''}`, async () => {
    if (device === undefined) return
    const codes = new Map<string, string>([['quantize', QUANTIZE], ['hadamard', HADAMARD]])
    for (const variant of VARIANTS) {
      for (const kind of [2, 4, 8, 32] as const) {
        const name = `${kind} ${JSON.stringify(variant)}`
        codes.set(`floats ${name}`, floats(kind, variant)).set(`dequantize ${name}`, dequantize(kind, variant))
        if (kind !== 32) codes.set(`gemv ${name}`, gemv(kind, variant)).set(`gemm ${name}`, gemm(kind, variant))
      }
    }
    for (const [name, code] of codes) {
      device.pushErrorScope('validation')
      const module = device.createShaderModule({ code })
      const { messages } = await module.getCompilationInfo()
      expect(messages.filter((m) => m.type === 'error').map((m) => m.message), name).toEqual([])
      device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } })
      expect((await device.popErrorScope())?.message, name).toBeUndefined()
    }
    expect(codes.size).toBe(2 + 16 * 14)
    expect(nothing.gpu).toBeDefined()
  })

  it('name a feature exactly where they use it', () => {
    for (const variant of VARIANTS) {
      for (const code of [gemv(4, variant), gemm(4, variant), floats(4, variant)]) {
        expect(code.includes('enable f16')).toBe(code.includes('array<f16>'))
        expect(code.includes('requires packed_4x8')).toBe(code.includes('dot4I8Packed'))
        expect(code.includes('enable subgroups')).toBe(code.includes('subgroupAdd'))
        expect(code.includes('unpack2x16float')).toBe(variant.half && !variant.f16)
      }
    }
  })
})
