import { expect, it } from 'vitest'
import { fastLinAlg, int3, type RoundingJob } from '@lowbit/core'
import { toyJob } from '@lowbit/core/testkit'
import { gptq } from '../src/index.js'

/** One scale a row: the widest search, a factorisation of the whole, and matrices that take longer than a slice. */
const job: RoundingJob = { ...toyJob({ scheme: int3(), rows: 64, columns: 448, samples: 40, statistics: [], linalg: fastLinAlg }).job, statistics: { gram: gramOf(448) } }

function gramOf(size: number): { readonly data: Float64Array; readonly groups: number; readonly size: number; readonly rows: number } {
  const data = new Float64Array(size * size)
  fastLinAlg.addGram(Float32Array.from({ length: 600 * size }, (_, i) => Math.sin(i * 1.7) + Math.cos((i % size) * 0.3)), 600, size, data)
  return { data, groups: 1, size, rows: 600 }
}

/** Longest time between two turns of the event loop, in milliseconds. */
async function longestGap(work: Promise<unknown>): Promise<number> {
  let longest = 0
  let last = performance.now()
  let running = true
  const turn = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setTimeout(turn, 0)
  }
  setTimeout(turn, 0)
  await work.catch(() => {})
  running = false
  return longest
}

it('leaves the event loop no longer than 50 ms without a turn', async () => {
  // The machine may be busy with other things: one quiet run of four is proof.
  let least = Infinity
  for (let attempt = 0; attempt < 4 && least >= 50; attempt++) least = Math.min(least, await longestGap(gptq().round(job)))
  expect(least).toBeLessThan(50)
})

it('hears an abort within 200 ms, with the reason as the cause', async () => {
  const reason = new Error('changed my mind')
  let least = Infinity
  for (let attempt = 0; attempt < 4 && least >= 200; attempt++) {
    const controller = new AbortController()
    let at = 0
    setTimeout(() => {
      at = performance.now()
      controller.abort(reason)
    }, 60)
    await expect(gptq().round({ ...job, signal: controller.signal })).rejects.toMatchObject({ code: 'LOWBIT_ABORTED', cause: reason })
    least = Math.min(least, performance.now() - at)
  }
  expect(least).toBeLessThan(200)
})
