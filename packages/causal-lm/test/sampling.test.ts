import { describe, expect, it } from 'vitest'
import { isLowbitError } from '@lowbit/core'
import { createSampler, resolveSampling, type SamplingOptions } from '../src/generate/sampling.js'
import { seededRandom } from '../src/generate/random.js'
import { StopStrings } from '../src/generate/stop-strings.js'
import { numbers } from './support/tiny-model.js'

const LOGITS = Float32Array.of(1, 3, 0.5, 2.5, -1, 2)

/** How often each token comes in many draws, as a share. */
function shares(options: SamplingOptions, logits = LOGITS, draws = 20_000): number[] {
  const sampler = createSampler(resolveSampling({ temperature: 1, seed: 7, ...options }))
  const counts = new Array<number>(logits.length).fill(0)
  for (let i = 0; i < draws; i++) counts[sampler.next(logits, [])]++
  return counts.map((count) => count / draws)
}

/** The same by the definition: all tokens sorted, filters one after the other. */
function expected({ topK = 0, topP = 1, minP = 0, temperature = 1 }: SamplingOptions, logits = LOGITS): number[] {
  let sorted = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b)
  if (topK > 0) sorted = sorted.slice(0, topK)
  const of = (tokens: readonly number[], t: number): number[] => {
    const raised = tokens.map((token) => Math.exp(logits[token] / t))
    const sum = raised.reduce((a, b) => a + b, 0)
    return raised.map((v) => v / sum)
  }
  const p = of(sorted, 1)
  let sum = 0
  let count = 0
  while (count < p.length && sum < topP) sum += p[count++]
  const kept = sorted.slice(0, Math.max(1, count)).filter((_, i) => p[i] >= minP * p[0])
  const out = new Array<number>(logits.length).fill(0)
  of(kept, temperature).forEach((v, i) => (out[kept[i]] = v))
  return out
}

describe('sampling', () => {
  it.each<SamplingOptions>([
    {}, { temperature: 0.5 }, { temperature: 2 }, { topK: 1 }, { topK: 3 }, { topK: 100 }, { topP: 0.5 }, { topP: 0.8, temperature: 0.7 }, { topP: 1e-9 }, { minP: 0.3 }, { minP: 1 },
    { topK: 4, topP: 0.9, minP: 0.2, temperature: 1.3 },
  ])('draws as its options say: %j', (options) => {
    // 20,000 draws: a share of 1/2 has a standard deviation of 0.0035.
    const want = expected(options)
    shares(options).forEach((share, token) => {
      expect(Math.abs(share - want[token]), `token ${token}: ${share}, want ${want[token]}`).toBeLessThan(0.018)
      if (want[token] === 0) expect(share).toBe(0)
    })
  })

  it('keeps the same tokens as sorting all of a large vocabulary does', () => {
    const random = numbers(3)
    const logits = Float32Array.from({ length: 2000 }, () => Math.round(random() * 40) / 4)
    for (const options of [{ topK: 50 }, { topP: 0.6 }, { topK: 200, topP: 0.5 }, { topP: 0.95, minP: 0.05 }] as const) {
      const want = expected(options, logits)
      const kept = shares(options, logits, 1500)
      kept.forEach((share, token) => {
        if (want[token] === 0) expect(share, `${JSON.stringify(options)} token ${token}`).toBe(0)
        // The likeliest of those kept come often enough to be missed.
        if (want[token] > 0.01) expect(share, `${JSON.stringify(options)} token ${token}`).toBeGreaterThan(0)
      })
    }
  })

  it('takes the likeliest token at temperature 0, the first of equals', () => {
    const sampler = createSampler(resolveSampling({}))
    expect(sampler.next(Float32Array.of(0, 2, 2), [])).toBe(1)
  })

  it('makes tokens that were there less likely, whatever the sign of their logits', () => {
    const sampler = createSampler(resolveSampling({ repetitionPenalty: 2 }))
    expect(sampler.next(Float32Array.of(3, 2), [0])).toBe(1)
    expect(sampler.next(Float32Array.of(-1, -1.5), [0, 0])).toBe(1)
    expect(sampler.next(Float32Array.of(-1, -2.5), [0])).toBe(0)
  })

  it('gives the same tokens for a seed and others for another', () => {
    const draw = (seed: number): number[] => {
      const sampler = createSampler(resolveSampling({ temperature: 1, seed }))
      return Array.from({ length: 64 }, () => sampler.next(LOGITS, []))
    }
    expect(draw(5)).toEqual(draw(5))
    expect(draw(5)).not.toEqual(draw(6))
    expect(draw(5)).not.toEqual(draw(5 + 2 ** 32))
  })

  it.each<SamplingOptions>([{ temperature: -1 }, { temperature: NaN }, { topK: 1.5 }, { topP: 0 }, { topP: 1.1 }, { minP: -0.1 }, { repetitionPenalty: 0 }, { seed: -1 }, { seed: 0.5 }])('refuses %j', (options) => {
    expect(() => resolveSampling(options)).toThrow(Object.keys(options)[0])
  })

  it.each([[[1, NaN, 2]], [[NaN, 1, 2]], [[1, Infinity, 2]]])('refuses logits %j', (logits) => {
    let error: unknown
    try {
      createSampler(resolveSampling({ temperature: 1 })).next(Float32Array.from(logits), [])
    } catch (caught) {
      error = caught
    }
    expect(isLowbitError(error, 'LOWBIT_NONFINITE'), String(error)).toBe(true)
  })
})

describe('seeded numbers', () => {
  it('lie evenly in [0, 1)', () => {
    const random = seededRandom(1)
    const bins = new Array<number>(16).fill(0)
    for (let i = 0; i < 32_000; i++) bins[Math.floor(random() * 16)]++
    // 2,000 a bin, standard deviation 43.
    for (const count of bins) expect(Math.abs(count - 2000)).toBeLessThan(220)
  })
})

describe('stop strings', () => {
  const cut = (stops: readonly string[], pieces: readonly string[]): { text: string; shown: string[]; found: string | undefined } => {
    const stop = new StopStrings(stops)
    const shown = pieces.map((piece) => stop.push(piece))
    shown.push(stop.end())
    return { text: shown.join(''), shown, found: stop.found }
  }

  it('cut a text wherever its pieces end, and never show a part of themselves', () => {
    const text = 'one two\n\nUser: three'
    for (let size = 1; size <= text.length; size++) {
      const pieces = text.match(new RegExp(`[\\s\\S]{1,${size}}`, 'g')) ?? []
      expect(cut(['\n\nUser:', 'three'], pieces)).toMatchObject({ text: 'one two', found: '\n\nUser:' })
    }
  })

  it('give back what only looked like one', () => {
    const { text, shown, found } = cut(['abc'], ['xab', 'abd', 'ab'])
    expect(text).toBe('xababdab')
    expect(found).toBeUndefined()
    expect(shown[0]).toBe('x')
  })

  it('take the one that comes first', () => {
    expect(cut(['late', 'a'], ['latea', 'x'])).toMatchObject({ text: '', found: 'late' })
  })

  it('must not be empty', () => {
    expect(() => new StopStrings([''])).toThrow('LOWBIT_ARGUMENT')
  })
})
