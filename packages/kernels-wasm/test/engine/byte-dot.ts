import type { QTensor } from '@lowbit/core'
import { toyActivations, toyWeights, type ToyWeight } from '@lowbit/core/testkit'
import { SCHEMES, type ByteDot } from '../../src/format.js'
import { createWasmKernels } from '../../src/index.js'
import { instantiate, makeMemory, moduleBytes } from '../../src/instance.js'
import { probeRelaxedSimd } from '../../src/probe.js'
import { ROUNDINGS } from '../../src/roundings.js'
import { WasmKernels } from '../../src/wasm-kernels.js'
import { programDigest } from './program-digest.js'

/** The relaxed tier as if the probe had found this dot product. */
export async function engineWith(byteDot: ByteDot): Promise<WasmKernels> {
  const memory = makeMemory(false)
  const exports = instantiate(await WebAssembly.compile(moduleBytes('relaxed-simd', false)), memory)
  return new WasmKernels({ exports, memory, pool: undefined, dots: { relaxed: true, bytes: byteDot }, supports: { tier: 'relaxed-simd', threads: 1, synchronous: true, reproducible: 'rows', schemes: SCHEMES, findings: [], ...ROUNDINGS } })
}

/** Bytes that stand in 0..127 where the second operand is read: exact on every engine, with or without a four-way dot product. */
export function within7Bits(q: QTensor, byteDot: ByteDot): QTensor {
  const least = (byteDot === 'unsigned' ? -128 : 0) + (q.scheme.dtype === 'uint8' ? 128 : 0)
  return { ...q, codes: q.codes.map((code) => least + ((code + 256) % 128)) }
}

/** Products by the four-way dot product that differ from plain TypeScript: on every engine with relaxed SIMD as far as 7 bits show it. */
export async function byteDotMismatches(): Promise<string[]> {
  const { relaxed } = probeRelaxedSimd()
  if (relaxed === 'absent' || relaxed === 'wrong') return []
  const found: string[] = []
  const scalar = await createWasmKernels({ tier: 'scalar' })
  const weights: readonly ToyWeight[] = [{ name: '', dtype: 'int8' }, { name: '', dtype: 'uint8', asymmetric: true }, { name: '', dtype: 'int8', group: 20 }, { name: '', dtype: 'int4', group: 32 }, { name: '', dtype: 'ternary' }, { name: '', dtype: 'uint4', group: 20, asymmetric: true, floatZero: true }]
  for (const byteDot of ['unsigned', 'signed'] as const) {
    const kernels = await engineWith(byteDot)
    // whole bytes too where this engine's instruction is that one
    for (const whole of relaxed === byteDot ? [false, true] : [false]) {
      for (const weight of weights) {
        for (const [m, n, k] of [[1, 19, 300], [2, 8, 16], [37, 21, 130]] as const) {
          const q = toyWeights(weight, n, k, 7)
          const used = whole || !weight.dtype.includes('int8') ? q : within7Bits(q, byteDot)
          const x = toyActivations(m, k, 8)
          for (const activations of ['int8', 'float32'] as const) {
            const y = kernels.matmul(x, kernels.prepack(used), undefined, { activations }).data
            const wanted = scalar.matmul(x, scalar.prepack(used), undefined, { activations }).data
            if (y.some((v, i) => v !== wanted[i])) found.push(`${byteDot} bytes, ${weight.dtype}, [${m}, ${k}] × [${n}, ${k}], ${activations}`)
          }
        }
      }
    }
    // codes of two, four and seven bits are exact on every engine
    const wholeBytes = relaxed === byteDot
    if (programDigest(kernels, { wholeBytes }) !== programDigest(scalar, { wholeBytes })) found.push(`${byteDot} bytes: programs`)
    kernels.dispose()
  }
  return found
}
