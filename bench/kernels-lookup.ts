import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as asc from 'assemblyscript/asc'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { toyActivations, toyWeights } from '@lowbit/core/testkit'

interface LookupExports {
  readonly memory: WebAssembly.Memory
  lookup(blocks: number, steps: number, w: number, tables: number, out: number, constants: number): void
}

/** `npm run bench -- lookup`: ternary GEMV by table lookup against the dot product that kernels-wasm uses. Wants an engine with relaxed SIMD. */
export async function benchLookup(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-lookup-'))
  const out = join(folder, 'lookup.wasm')
  const { error } = await asc.main([fileURLToPath(new URL('assembly/lookup.ts', import.meta.url)), '--outFile', out, '-O0', '--runtime', 'stub', '--initialMemory', '1024', '--enable', 'simd', '--enable', 'relaxed-simd'])
  if (error !== null) throw error
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(out)))
  rmSync(folder, { recursive: true, force: true })
  const kernel = exports as object as LookupExports
  const kernels = await createWasmKernels({ threads: 1 })
  for (const [n, k] of [[2048, 2048], [8192, 2048], [1536, 576]] as const) {
    const q = toyWeights({ name: '', dtype: 'ternary', perTensor: true }, n, k, 1, 1)
    const x = toyActivations(1, k, 2, 'codes')
    const [tables, w, result] = [1024, 2 ** 20, 2 ** 25]
    const bytes = new Uint8Array(kernel.memory.buffer)
    bytes.fill(15, 512, 528)
    for (let pair = 0; pair < k / 2; pair++) {
      for (let index = 0; index < 9; index++) {
        const v = ((index % 3) - 1) * x.data[2 * pair] + (Math.floor(index / 3) - 1) * x.data[2 * pair + 1]
        bytes[tables + pair * 32 + index] = v & 15
        bytes[tables + pair * 32 + 16 + index] = v >> 4
      }
    }
    for (let row = 0; row < n; row++) {
      for (let pair = 0; pair < k / 2; pair++) {
        const index = q.codes[row * k + 2 * pair] + 1 + 3 * (q.codes[row * k + 2 * pair + 1] + 1)
        const at = w + (row >> 4) * k * 4 + (pair >> 1) * 16 + (row & 15)
        bytes[at] = (pair & 1) === 0 ? index : bytes[at] | (index << 4)
      }
    }
    const packed = kernels.prepack(q)
    const byLookup = (): void => kernel.lookup(n / 16, k / 4, w, tables, result, 512)
    const byDot = (): unknown => kernels.matmul(x, packed)
    byLookup()
    const wanted = kernels.matmul(x, packed).data
    const found = new Int32Array(kernel.memory.buffer, result, n)
    if (!found.every((v, i) => v === wanted[i])) throw new Error('the lookup kernel is wrong')
    const least = [Infinity, Infinity]
    for (let turn = 0; turn < 60; turn++) {
      for (const [i, body] of [byLookup, byDot].entries()) {
        for (let call = 0; call < 20; call++) {
          const start = performance.now()
          body()
          least[i] = Math.min(least[i], performance.now() - start)
        }
      }
    }
    console.log(`1×${k}×${n} ternary: lookup ${((2 * n * k) / least[0] / 1e6).toFixed(1)} GOPS without making its tables, dot product ${((2 * n * k) / least[1] / 1e6).toFixed(1)} GOPS with everything (${kernels.supports.tier}, Node ${process.versions.node})`)
  }
  kernels.dispose()
}
