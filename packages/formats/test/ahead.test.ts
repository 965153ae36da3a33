import { describe, expect, it } from 'vitest'
import { ahead } from '@lowbit/formats/data'

const soon = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

describe('ahead', () => {
  it('gives results in order, with no more under way than it may', async () => {
    let under = 0
    let most = 0
    const work = async (n: number): Promise<number> => {
      most = Math.max(most, ++under)
      await soon(n % 3)
      under--
      return n * n
    }
    const found: number[] = []
    for await (const square of ahead([1, 2, 3, 4, 5, 6, 7], 2, work)) found.push(square)
    expect(found).toEqual([1, 4, 9, 16, 25, 36, 49])
    expect(most).toBe(3)
  })

  it('fails where its turn comes, and not for what nobody asked for', async () => {
    const work = (n: number): Promise<number> => (n === 3 ? Promise.reject(new Error('three')) : Promise.resolve(n))
    const found: number[] = []
    await expect((async () => { for await (const n of ahead([1, 2, 3, 4], 1, work)) found.push(n) })()).rejects.toThrow('three')
    expect(found).toEqual([1, 2])
    for await (const n of ahead([1, 2, 3], 3, work)) {
      expect(n).toBe(1)
      break
    }
    await soon(1)
  })
})
