import { readFileSync } from 'node:fs'
import type { Batch } from '@lowbit/core'

/** Tokens of a text under the byte-pair tokenizer of the stories models: greedy merges by score. */
function tokenizer(file: string): (text: string) => number[] {
  const bytes = readFileSync(file)
  const vocabulary: string[] = []
  const scores: number[] = []
  for (let at = 4; at < bytes.length; ) {
    scores.push(bytes.readFloatLE(at))
    const length = bytes.readInt32LE(at + 4)
    vocabulary.push(bytes.subarray(at + 8, at + 8 + length).toString('utf8'))
    at += 8 + length
  }
  const ids = new Map(vocabulary.map((piece, id) => [piece, id]))
  return (text) => {
    const tokens = [ids.get(' ') ?? 0]
    for (const character of text) {
      const id = ids.get(character)
      if (id !== undefined) tokens.push(id)
      else tokens.push(...Array.from(Buffer.from(character), (byte) => byte + 3))
    }
    for (;;) {
      let best = -Infinity
      let at = -1
      let merged = -1
      for (let i = 0; i + 1 < tokens.length; i++) {
        const id = ids.get((vocabulary[tokens[i] ?? 0] ?? '') + (vocabulary[tokens[i + 1] ?? 0] ?? ''))
        if (id !== undefined && (scores[id] ?? 0) > best) [best, at, merged] = [scores[id] ?? 0, i, id]
      }
      if (at < 0) break
      tokens.splice(at, 2, merged)
    }
    return [1, ...tokens]
  }
}

/** The first stories of the validation text, each cut to 257 tokens: 256 predictions. */
export function stories(folder: string, count = 40): number[][] {
  const encode = tokenizer(`${folder}/tok512.bin`)
  return readFileSync(`${folder}/tinystories_val.txt`, 'utf8')
    .split(/<\|endoftext\|>|\n\s*\n\s*\n|(?=Once upon a time|One day,)/)
    .map((story) => story.trim())
    .filter((story) => story.length > 300)
    .slice(0, count)
    .map((story) => encode(story).slice(0, 257))
}

/** exp of the mean negative log likelihood of each token after the first. */
export async function perplexity(tokens: readonly (readonly number[])[], run: (batch: Batch) => Promise<Batch>): Promise<number> {
  let total = 0
  let count = 0
  for (const story of tokens) {
    const length = story.length - 1
    const { logits } = await run({ input_ids: { dtype: 'int64', shape: [1, length], data: BigInt64Array.from(story.slice(0, length), BigInt) } })
    const width = logits?.shape.at(-1) ?? 0
    for (let t = 0; t < length; t++) {
      const row = Array.from({ length: width }, (_, i) => Number(logits?.data[t * width + i]))
      const largest = Math.max(...row)
      total += Math.log(row.reduce((sum, v) => sum + Math.exp(v - largest), 0)) + largest - (row[story[t + 1] ?? 0] ?? NaN)
    }
    count += length
  }
  return Math.exp(total / count)
}
