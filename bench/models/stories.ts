import { readFileSync } from 'node:fs'
import { tensor, type Batch } from '@lowbit/core'
import type { BenchModel } from './bench-model.ts'
import { needSharedData } from './shared.ts'

/** Stories that perplexity is measured on; calibration takes later ones. */
export const TEST_STORIES = 40
/** Tokens of a story that count, its start token included. */
const MAX_TOKENS = 257
const START = 1

let cached: readonly (readonly number[])[] | undefined

/** All stories of the text as token ids, each with the start token, cut at {@link MAX_TOKENS}. */
export function storyTokens(): readonly (readonly number[])[] {
  cached ??= splitStories(readFileSync(needSharedData('tinystories_val.txt'), 'utf8')).map((s) => tokenizer()(s).slice(0, MAX_TOKENS))
  return cached
}

/** Stories by the marks of the file, those of over 300 characters. */
function splitStories(text: string): readonly string[] {
  return text
    .split(/<\|endoftext\|>|\n\s*\n\s*\n|(?=Once upon a time|One day,)/)
    .map((s) => s.trim())
    .filter((s) => s.length > 300)
}

let encode: ((text: string) => number[]) | undefined

/** Greedy pair merging by score, as the model was trained with (SentencePiece BPE, 512 pieces). */
function tokenizer(): (text: string) => number[] {
  if (encode !== undefined) return encode
  const file = readFileSync(needSharedData('tok512.bin'))
  const pieces: string[] = []
  const scores: number[] = []
  for (let at = 4; at < file.length; ) {
    scores.push(file.readFloatLE(at))
    const length = file.readInt32LE(at + 4)
    pieces.push(file.subarray(at + 8, at + 8 + length).toString('utf8'))
    at += 8 + length
  }
  const ids = new Map(pieces.map((piece, i) => [piece, i]))
  const BYTE_OFFSET = 3
  encode = (text) => {
    const tokens = [ids.get(' ') ?? 0]
    for (const character of text) {
      const id = ids.get(character)
      if (id === undefined) for (const byte of Buffer.from(character)) tokens.push(byte + BYTE_OFFSET)
      else tokens.push(id)
    }
    for (;;) {
      let best = -Infinity
      let at = -1
      let merged = 0
      for (let i = 0; i + 1 < tokens.length; i++) {
        const id = ids.get(pieces[tokens[i]] + pieces[tokens[i + 1]])
        if (id !== undefined && scores[id] > best) {
          best = scores[id]
          at = i
          merged = id
        }
      }
      if (at < 0) return [START, ...tokens]
      tokens.splice(at, 2, merged)
    }
  }
  return encode
}

/** A batch of one story: all tokens but the last. */
export function storyBatch(tokens: readonly number[]): Batch {
  const inputs = tokens.slice(0, -1)
  return { input_ids: tensor('int64', [1, inputs.length], BigInt64Array.from(inputs, BigInt)) }
}

/** Calibration batches: stories after the tested ones, of their own lengths. */
export function storyCalibration(count = 64): readonly Batch[] {
  return storyTokens().slice(TEST_STORIES, TEST_STORIES + count).map(storyBatch)
}

/** exp of the mean negative log likelihood over the first {@link TEST_STORIES} stories. */
export async function storyPerplexity(run: (batch: Batch) => Promise<Batch>, count = TEST_STORIES): Promise<number> {
  let total = 0
  let predicted = 0
  for (const tokens of storyTokens().slice(0, count)) {
    const { logits } = await run(storyBatch(tokens))
    const width = logits.shape[2]
    for (let t = 0; t + 1 < tokens.length; t++) {
      const row = t * width
      let top = -Infinity
      for (let v = 0; v < width; v++) top = Math.max(top, Number(logits.data[row + v]))
      let sum = 0
      for (let v = 0; v < width; v++) sum += Math.exp(Number(logits.data[row + v]) - top)
      total += Math.log(sum) + top - Number(logits.data[row + tokens[t + 1]])
      predicted++
    }
  }
  return Math.exp(total / predicted)
}

/** stories260K, a language model of five layers, judged by its perplexity. */
export function stories(calibration = 40): BenchModel {
  return {
    name: 'stories260K',
    path: needSharedData('stories260K.onnx'),
    calibration: () => Promise.resolve(storyCalibration(calibration)),
    evaluate: async (float, quantized) => ({ perplexity: await storyPerplexity(quantized), floatPerplexity: await storyPerplexity(float) }),
  }
}
