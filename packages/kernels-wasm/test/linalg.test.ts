import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { linalgSuite, toyRandom } from '@lowbit/core/testkit'
import { wasmLinAlg } from '../src/index.js'

const runner = { describe, it }
linalgSuite({ runner, factory: () => wasmLinAlg() })

describe('linear algebra in WebAssembly', () => {
  it('gives the same bits on every engine: those written here', () => {
    const random = toyRandom(7)
    const n = 150
    const x = Float32Array.from({ length: 400 * n }, () => 2 * random() - 1)
    const h = new Float64Array(n * n)
    const linalg = wasmLinAlg()
    linalg.addGram(x, 400, n, h)
    const result = linalg.reverseCholesky(h, n)
    if (!result.ok) throw new Error('not positive definite')
    const hash = createHash('sha256')
    for (const values of [h, result.factor, linalg.invertUpper(result.factor, n), linalg.matmul(h, h, n, n, n)]) hash.update(new Uint8Array(values.buffer))
    expect(hash.digest('hex').slice(0, 16)).toBe('122204d0469b87af')
  })

  it('does not grow: matrices of any size go through the same panels', () => {
    const linalg = wasmLinAlg()
    const a = new Float64Array(700 * 700).fill(1)
    expect(linalg.matmul(a, a, 700, 700, 700).every((v) => v === 700)).toBe(true)
  })
})
