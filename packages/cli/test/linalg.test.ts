import { describe, expect, it } from 'vitest'
import { bestLinAlg } from '../src/jobs/linalg.js'

describe('the linear algebra of the command', () => {
  it('is WebAssembly where there is SIMD, as in Node, and one instance: jobs are sent to workers by it', () => {
    expect(bestLinAlg().name).toBe('@lowbit/kernels-wasm/linalg')
    expect(bestLinAlg()).toBe(bestLinAlg())
  })
})
