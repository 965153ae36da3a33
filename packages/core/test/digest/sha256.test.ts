import { createHash } from 'node:crypto'
import { digestBatches, Sha256 } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

describe('Sha256', () => {
  it('is that of FIPS 180-4, in whatever pieces the message comes', () => {
    expect(new Sha256().update('abc').hex()).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (pieces) => {
        const ours = new Sha256()
        const theirs = createHash('sha256')
        for (const piece of pieces) {
          ours.update(piece)
          theirs.update(piece)
        }
        expect(ours.hex()).toBe(theirs.digest('hex'))
      }),
    )
  })
})

describe('digestBatches', () => {
  const x = { dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) } as const
  it('changes with a value, a shape, a name, the order and the number of batches, and with nothing else', async () => {
    const digests = await Promise.all(
      [[{ x }], [{ x: { ...x, data: Float32Array.of(1, 3) } }], [{ x: { ...x, shape: [1, 2] } }], [{ y: x }], [{ x }, { x }], [{ x, y: { ...x, data: Float32Array.of(0, 0) } }]].map((data) => digestBatches(data)),
    )
    expect(new Set(digests).size).toBe(digests.length)
    const later = new Float32Array(4)
    later.set([1, 2], 2)
    expect(await digestBatches([{ x: { ...x, data: later.subarray(2) } }])).toBe(digests[0])
    expect(await digestBatches([{ a: x, b: x }])).toBe(await digestBatches([{ b: x, a: x }]))
  })
})
