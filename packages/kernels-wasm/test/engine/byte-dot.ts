import type { QTensor } from '@lowbit/core'
import { toyActivations, toyWeights, type ToyWeight } from '@lowbit/core/testkit'
import { SCHEMES, type ByteDot } from '../../src/format.js'
import { createWasmKernels } from '../../src/index.js'
import { instantiate, makeMemory, moduleBytes } from '../../src/instance.js'
import { probeRelaxedSimd } from '../../src/probe.js'
import { ACTIVATIONS } from '../../src/program/supports.js'
import { ROUNDINGS } from '../../src/roundings.js'
import { WasmKernels } from '../../src/wasm-kernels.js'
import { programDigest } from './program-digest.js'

/** The relaxed tier as if the probe had found this dot product. */
export async function engineWith(byteDot: ByteDot, bytes: BufferSource = moduleBytes('relaxed-simd', false)): Promise<WasmKernels> {
  const memory = makeMemory(false)
  const exports = instantiate(await WebAssembly.compile(bytes), memory)
  return new WasmKernels({ exports, memory, pool: undefined, dots: { relaxed: true, bytes: byteDot }, supports: { tier: 'relaxed-simd', threads: 1, synchronous: true, reproducible: 'rows', schemes: SCHEMES, activations: ACTIVATIONS, findings: [], ...ROUNDINGS } })
}

/** Bytes that stand in 0..127 where the second operand is read: exact on every engine, with or without a four-way dot product. */
export function within7Bits(q: QTensor, byteDot: ByteDot): QTensor {
  const least = (byteDot === 'unsigned' ? -128 : 0) + (q.scheme.dtype === 'uint8' ? 128 : 0)
  return { ...q, codes: q.codes.map((code) => least + ((code + 256) % 128)) }
}

const WEIGHTS: readonly ToyWeight[] = [
  { name: '', dtype: 'int8' }, { name: '', dtype: 'uint8', asymmetric: true }, { name: '', dtype: 'int8', group: 20 },
  { name: '', dtype: 'int4', group: 32 }, { name: '', dtype: 'ternary' }, { name: '', dtype: 'uint2', group: 16, asymmetric: true }, { name: '', dtype: 'uint4', group: 20, asymmetric: true, floatZero: true },
]

/**
 * Products by the four-way dot product that differ from plain TypeScript.
 * @param exact what the second operand is where whole bytes are exact; elsewhere 7 bits are tried, which every engine multiplies exactly
 * @param bytes the module, if not the package's own
 */
export async function byteDotMismatches(exact: string = probeRelaxedSimd().relaxed, bytes?: BufferSource): Promise<string[]> {
  if (exact === 'absent' || exact === 'wrong') return []
  const found: string[] = []
  const scalar = await createWasmKernels({ tier: 'scalar' })
  for (const byteDot of ['unsigned', 'signed'] as const) {
    const whole = exact === byteDot
    const kernels = await engineWith(byteDot, bytes)
    for (const weight of WEIGHTS) {
      const isByte = weight.dtype.endsWith('int8')
      // fields of narrow codes stand high in a byte where the second operand is unsigned
      if (!whole && !isByte && byteDot === 'unsigned') continue
      for (const [m, n, k] of [[1, 19, 300], [2, 8, 16], [37, 21, 130], [1, 40, 576]] as const) {
        const q = toyWeights(weight, n, k, 7)
        const x = toyActivations(m, k, 8)
        for (const used of whole || !isByte ? [q, within7Bits(q, byteDot)].slice(0, isByte ? 2 : 1) : [within7Bits(q, byteDot)]) {
          for (const activations of ACTIVATIONS) {
            const y = kernels.matmul(x, kernels.prepack(used), undefined, { activations }).data
            const wanted = scalar.matmul(x, scalar.prepack(used), undefined, { activations }).data
            if (y.some((v, i) => v !== wanted[i])) found.push(`${byteDot} bytes, ${weight.dtype}, [${m}, ${k}] × [${n}, ${k}], ${activations}`)
          }
        }
      }
    }
    if ((whole || byteDot === 'signed') && programDigest(kernels, { wholeBytes: whole }) !== programDigest(scalar, { wholeBytes: whole })) found.push(`${byteDot} bytes: programs`)
    kernels.dispose()
  }
  return found
}
