import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { gptq } from '@lowbit/algos-gptq'
import { calibrationWindows, measurePerplexity, openCausalLm, openCausalLmHost, tokenizerFromLlama2c } from '@lowbit/causal-lm'
import { quantize, rtn, weightScheme, type QuantizeOptions } from '@lowbit/core'

const data = fileURLToPath(new URL('../../../shared/data/', import.meta.url))
const path = `${data}stories260K.bin`
const there = existsSync(path)

/** Perplexity on the beginning of a text, in our own engine. */
async function perplexityOf(file: string | Uint8Array<ArrayBuffer>, tokens: readonly number[]): Promise<number> {
  using model = await openCausalLm(file, { threads: 1, cache: 'float32', activations: 'float32', tokenizer: 'none' })
  using session = model.session({ context: 256, rows: 64, wanted: 64 })
  return (await measurePerplexity(session, tokens, { window: 256 })).perplexity.value
}

describe.skipIf(!there)(`stories260K quantized${there ? '' : ' (skipped: no ../shared beside the checkout)'}`, () => {
  async function perplexityAfter(tokens: readonly number[], options: Omit<QuantizeOptions, 'weights'>): Promise<number> {
    const host = await openCausalLmHost(path, { threads: 1 })
    try {
      const { artifact } = await quantize(host, { weights: weightScheme('int3', { group: 32 }), exclude: ['embed'], ...options })
      return await perplexityOf(artifact.bytes(), tokens)
    } finally {
      await host.dispose()
    }
  }

  it('is better by GPTQ than rounded to nearest, and better still block by block', async () => {
    const tokenizer = tokenizerFromLlama2c(new Uint8Array(readFileSync(`${data}tok512.bin`)))
    const text = readFileSync(`${data}tinystories_val.txt`, 'utf8')
    const tokens = tokenizer.encode(text.slice(0, 5000))
    const calibration = calibrationWindows(tokenizer, text.slice(20_000, 60_000), { window: 256, tokens: 3072 })
    const [float, rounded] = [await perplexityOf(path, tokens), await perplexityAfter(tokens, { rounding: rtn() })]
    const onePass = await perplexityAfter(tokens, { rounding: gptq(), calibration })
    const sequential = await perplexityAfter(tokens, { rounding: gptq(), calibration, mode: 'sequential' })
    expect(rounded).toBeGreaterThan(float * 1.2)
    expect(onePass).toBeLessThan(rounded * 0.95)
    expect(sequential).toBeLessThan(onePass * 1.02)
  }, 60_000)
})
