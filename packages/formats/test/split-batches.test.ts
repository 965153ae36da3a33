import type { Batch, HostTensor, TensorRef } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { splitBatches } from '../src/data/split-batches.js'
import { memorySource, openArrays, writeNpz } from '../src/index.js'

const floats = (shape: readonly number[], from = 0): HostTensor => ({ dtype: 'float32', shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => from + i) })
const X: TensorRef = { name: 'x', dtype: 'float32', shape: ['n', 3] }

async function split(arrays: Readonly<Record<string, HostTensor>>, inputs: readonly TensorRef[], size: number | 'whole' = 1): Promise<readonly Batch[]> {
  await using file = await openArrays(memorySource(new Uint8Array(writeNpz(arrays)), 'data.npz'), '.npz')
  const batches: Batch[] = []
  for await (const batch of splitBatches(file, inputs, size)) batches.push(batch)
  return batches
}

describe('batches of a file', () => {
  it('take what is there once with each of them: a state, a rate', async () => {
    const inputs: readonly TensorRef[] = [X, { name: 'h', dtype: 'float32', shape: [2, 'n', 4] }, { name: 'rate', dtype: 'float32', shape: [] }, { name: 'c', dtype: 'float32', shape: ['n', 2] }]
    const given = { x: floats([5, 3]), h: floats([2, 1, 4]), rate: floats([]), c: floats([1, 2], 7) }
    const batches = await split(given, inputs)
    expect(batches.length).toBe(5)
    for (const [i, batch] of batches.entries()) {
      expect(Array.from(batch['x'].data, Number)).toEqual([3 * i, 3 * i + 1, 3 * i + 2])
      expect(batch['h']).toEqual(given.h)
      expect(batch['rate'].shape).toEqual([])
      expect(batch['c']).toEqual(given.c)
    }
  })

  it('repeat one sample where they hold several, the last of them fewer', async () => {
    const inputs: readonly TensorRef[] = [X, { name: 'c', dtype: 'float32', shape: ['n', 2] }]
    for (const order of [inputs, [...inputs].reverse()]) {
      const batches = await split({ x: floats([5, 3]), c: floats([1, 2], 7) }, order, 2)
      expect(batches.map((b) => [b['x'].shape, b['c'].shape])).toEqual([[[2, 3], [2, 2]], [[2, 3], [2, 2]], [[1, 3], [1, 2]]])
      expect(Array.from(batches[0]['c'].data, Number)).toEqual([7, 8, 7, 8])
    }
  })

  it('are refused where two inputs have different numbers of samples', async () => {
    await expect(split({ x: floats([5, 3]), c: floats([4, 2]) }, [X, { name: 'c', dtype: 'float32', shape: ['n', 2] }])).rejects.toThrow(/4 batches of c and 5 of x/)
  })

  it('are the file itself where it is a ready batch', async () => {
    const [batch, ...others] = await split({ x: floats([5, 3]), c: floats([5, 2]) }, [X, { name: 'c', dtype: 'float32', shape: ['n', 2] }], 'whole')
    expect(others).toEqual([])
    expect(batch['x'].shape).toEqual([5, 3])
    // The model's own number of samples goes before.
    expect((await split({ x: floats([6, 3]) }, [{ ...X, shape: [2, 3] }], 'whole')).length).toBe(3)
  })
})
