import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { breathDue, breathe, inSlices, wholly, type Slices } from '@lowbit/core'

function* counting(slices: number, milliseconds: number): Slices<number> {
  for (let i = 0; i < slices; i++) {
    const until = performance.now() + milliseconds
    while (performance.now() < until);
    yield
  }
  return slices
}

/** Turns the event loop had while `work` ran. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let turns = 0
  let running = true
  const turn = (): void => {
    turns++
    if (running) setTimeout(turn, 0)
  }
  setTimeout(turn, 0)
  await work
  running = false
  return turns
}

describe('breath', () => {
  it('gives the same result however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 40 }), fc.integer({ min: 1, max: 7 }), async (values, every) => {
        function* sum(): Slices<number> {
          let total = 0
          for (const [i, v] of values.entries()) {
            total = total * 3 + v
            if (i % every === 0) yield
          }
          return total
        }
        const wanted = values.reduce((total, v) => total * 3 + v, 0)
        expect(wholly(sum())).toBe(wanted)
        expect(await inSlices(sum(), undefined, 'sum')).toBe(wanted)
      }),
    )
  })

  it('lets timers run in between, also where several computations take turns', async () => {
    expect(await turnsDuring(inSlices(counting(40, 2), undefined, 'work'))).toBeGreaterThan(3)
    expect(await turnsDuring(Promise.all([inSlices(counting(40, 1), undefined, 'a'), inSlices(counting(40, 1), undefined, 'b')]))).toBeGreaterThan(3)
  })

  it('hears an abort from a timer and keeps its reason', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    setTimeout(() => controller.abort(reason), 20)
    await expect(inSlices(counting(10_000, 1), controller.signal, 'long work')).rejects.toMatchObject({ code: 'LOWBIT_ABORTED', cause: reason, parts: { thing: 'long work' } })
  })

  it('costs no turn where none is due', async () => {
    await breathe()
    expect(breathDue()).toBe(false)
    let turned = false
    setImmediate(() => (turned = true))
    await breathe()
    expect(turned).toBe(false)
  })
})
