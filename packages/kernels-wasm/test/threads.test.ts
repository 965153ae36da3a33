import { readFileSync } from 'node:fs'
import { toyActivations, toyWeights } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { CONTROL, PIECES } from '../src/control.js'
import { createWasmKernels } from '../src/index.js'

/** Large enough that threads take part; rows that do not divide into the pieces, and one of fewer blocks than pieces. */
const SHAPES = [[1, 1003, 700], [1, 2048, 512], [7, 259, 400], [2, 9, 60000], [130, 40, 256]] as const

describe('threads', () => {
  it('give the bits of one thread, call after call, whoever takes which piece', async () => {
    using one = await createWasmKernels({ threads: 1 })
    for (const threads of [2, 3, 5]) {
      using several = await createWasmKernels({ threads })
      expect(several.supports.threads).toBe(threads)
      for (const [m, n, k] of SHAPES) {
        for (const weight of [{ name: '', dtype: 'int4', group: 32 }, { name: '', dtype: 'ternary', perTensor: true }, { name: '', dtype: 'int8' }] as const) {
          const q = toyWeights(weight, n, k, n)
          const x = toyActivations(m, k, m)
          using a = one.prepack(q)
          using b = several.prepack(q)
          for (const activations of ['int8', 'float32'] as const) {
            const wanted = one.matmul(x, a, undefined, { activations }).data
            for (let call = 0; call < (activations === 'int8' ? 20 : 2); call++) expect(several.matmul(x, b, undefined, { activations }).data).toEqual(wanted)
          }
        }
      }
    }
  })

  it('wake again after they have gone to sleep', async () => {
    using kernels = await createWasmKernels({ threads: 3 })
    const x = toyActivations(1, 1024, 1)
    using packed = kernels.prepack(toyWeights({ name: '', dtype: 'int4', group: 32 }, 1024, 1024, 1))
    const wanted = kernels.matmul(x, packed).data.slice()
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, i % 4))
      expect(kernels.matmul(x, packed).data).toEqual(wanted)
    }
  })

  it('read the control block where the host writes it', () => {
    const source = readFileSync(new URL('../assembly/pool.ts', import.meta.url), 'utf8')
    const bytes = [...source.matchAll(/^const (\w+): usize = (\d+)$/gm)].map(([, name = '', at]) => [name.toLowerCase().replace(/_(.)/g, (_, c: string) => c.toUpperCase()), Number(at)])
    const words = Object.fromEntries(bytes.map(([name, at]) => [name, Number(at) / 4]))
    expect(CONTROL).toMatchObject(words)
    expect(Object.keys(words)).toHaveLength(8)
    expect(source).toContain(`const PIECES: i32 = ${PIECES}\n`)
  })
})
