import { describe, expect, it } from 'vitest'
import { HEAP_START } from '../src/instance.js'
import { classify } from '../src/probe.js'

/** An engine whose dot products multiply by `operand(b)` and keep a pair inside `limit`. */
function engine(operand: (b: number) => number, limit = Infinity, factor = 1): ReturnType<typeof classify> {
  const memory = new WebAssembly.Memory({ initial: 1 })
  const bytes = (at: number, count: number): Int8Array => new Int8Array(memory.buffer, at, count)
  const pair = (a: Int8Array, b: Int8Array, i: number): number => {
    const sum = a[i] * operand(b[i] & 255) + a[i + 1] * operand(b[i + 1] & 255)
    return factor * Math.max(-limit - 1, Math.min(limit, sum))
  }
  return classify({
    probeDot4(a, b, count, out) {
      const sums = new Int32Array(4)
      for (let i = 0; i < count * 16; i += 2) sums[(i >> 2) & 3] += pair(bytes(a, count * 16), bytes(b, count * 16), i)
      new Int32Array(memory.buffer, out, 4).set(sums)
    },
    probeDot2(a, b, count, out) {
      const sums = new Int16Array(8)
      for (let i = 0; i < count * 16; i += 2) sums[(i >> 1) & 7] += pair(bytes(a, count * 16), bytes(b, count * 16), i)
      new Int16Array(memory.buffer, out, 8).set(sums)
    },
  }, memory)
}

describe('classification of the relaxed dot product', () => {
  it('tells the four behaviours apart', () => {
    expect(engine((b) => b).relaxed).toBe('unsigned')
    expect(engine((b) => (b << 24) >> 24).relaxed).toBe('signed')
    expect(engine((b) => b, 32767).relaxed).toBe('saturating')
    expect(engine((b) => b, Infinity, 2).relaxed).toBe('wrong')
  })

  it('refuses an engine that is wrong outside the range only in a way nobody knows', () => {
    expect(engine((b) => b & 127).relaxed).toBe('wrong')
  })

  it('leaves the constants of a module alone', () => {
    expect(HEAP_START).toBeGreaterThanOrEqual(4096)
  })
})
