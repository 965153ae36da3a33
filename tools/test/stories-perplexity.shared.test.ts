import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { measurePerplexity, openCausalLm } from '@lowbit/causal-lm'
import { storyTokens, TEST_STORIES } from '../../bench/models/stories.js'

const path = fileURLToPath(new URL('../../../shared/data/stories260K.bin', import.meta.url))
const there = existsSync(path)

describe.skipIf(!there)(`stories260K on the kernels${there ? '' : ' (skipped: no ../shared beside the checkout)'}`, () => {
  it('has the perplexity of the reference on forty stories', async () => {
    using model = await openCausalLm(path, { threads: 1, cache: 'float32', tokenizer: 'none' })
    using session = model.session({ context: 300, rows: 64, wanted: 64 })
    let loss = 0
    let count = 0
    for (const tokens of storyTokens().slice(0, TEST_STORIES)) {
      const { loss: mean, tokens: judged } = await measurePerplexity(session, tokens)
      loss += mean.value * judged
      count += judged
    }
    expect(Math.exp(loss / count)).toBeCloseTo(3.828, 3)
  })
})
