import { readFileSync } from 'node:fs'
import { isLowbitError } from '@lowbit/core'
import { toyWeights } from '@lowbit/core/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createWebGpuKernels } from '../src/index.js'
import { packWords } from '../src/packed-matrix.js'
import { formatOf } from '../src/format.js'
import { halfBits } from '../src/half.js'
import { VERSION } from '../src/version.js'

describe('createWebGpuKernels', () => {
  it('says in one sentence that there is no WebGPU, and what would help', async () => {
    const none: Pick<GPU, 'requestAdapter'> = { requestAdapter: async () => null }
    for (const [options, text] of [[{}, 'no navigator.gpu'], [{ gpu: none as GPU }, '--enable-unsafe-webgpu']] as const) {
      const error: unknown = await createWebGpuKernels(options).catch((e: unknown) => e)
      expect(isLowbitError(error, 'LOWBIT_UNSUPPORTED') && error.message).toContain(text)
    }
  })

  it('belongs to the version in package.json', () => {
    expect(VERSION).toBe((JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version)
  })

  it('packs every code where the shaders look for it', () => {
    fc.assert(fc.property(fc.constantFrom('int2' as const, 'ternary' as const, 'uint4' as const, 'int4' as const, 'int8' as const, 'uint8' as const), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 40 }), (dtype, n, k, group) => {
      const q = toyWeights({ name: '', dtype, group }, n, k, n + k)
      const format = formatOf(q.scheme, k)
      const bytes = new Uint8Array(packWords(q, format).buffer)
      const perWord = 32 / format.kind
      q.codes.forEach((code, i) => {
        const row = Math.floor(i / k)
        const g = Math.floor((i % k) / format.used)
        const at = (row * format.groups + g) * format.group + (i % k) - g * format.used
        const inWord = at % perWord
        const stored = (bytes[Math.floor(at / perWord) * 4 + (inWord % 4)] >> (format.kind * Math.floor(inWord / 4))) & (2 ** format.kind - 1)
        expect(stored).toBe((code + format.add) & (2 ** format.kind - 1))
      })
    }), { numRuns: 60 })
  })

  it('stores a scale as a half exactly where that holds the same number', () => {
    const halfValue = (bits: number): number => {
      const e = (bits >> 10) & 31
      const size = e === 0 ? (bits & 1023) * 2 ** -24 : (1024 + (bits & 1023)) * 2 ** (e - 25)
      return bits & 0x8000 ? -size : size
    }
    // every finite half is itself, and no number between two of them is taken for one
    for (let bits = 0; bits < 65536; bits++) {
      if (((bits >> 10) & 31) === 31) continue
      expect(halfBits(halfValue(bits))).toBe(bits)
      if (bits % 7 === 0) expect(halfBits(halfValue(bits) + (bits & 0x8000 ? -1 : 1) * 2 ** -26 * Math.max(1, 2 ** (((bits >> 10) & 31) - 1)))).toBeUndefined()
    }
    for (const value of [65520, 1e9, Infinity, NaN, 2 ** -25, 0.1]) expect(halfBits(value), String(value)).toBeUndefined()
  })
})
