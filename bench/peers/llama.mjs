// Native llama.cpp through node-llama-cpp, one model a process. Prints one line of JSON.
//   node llama.mjs logits FILE TOKENS.json OUT.f32          raw logits after every token, [tokens, vocabulary] float32; cache F32
//   node llama.mjs speed FILE THREADS PROMPT NEW [BEFORE]   tokens a second reading PROMPT tokens and making NEW ones, after BEFORE tokens of context
import { readFileSync, writeFileSync } from 'node:fs'

const [mode, file, ...rest] = process.argv.slice(2)
const { getLlama, LlamaLogLevel } = await import('node-llama-cpp')
// modules count for neither side
const began = performance.now()
const threads = mode === 'speed' ? Number(rest[0]) : 1
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error, maxThreads: threads })
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 })

if (mode === 'logits') {
  const tokens = JSON.parse(readFileSync(rest[0], 'utf8'))
  const context = await model.createContext({ contextSize: Math.max(64, tokens.length + 8), threads, experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32', flashAttention: false })
  const sequence = context.getSequence()
  const found = await sequence.controlledEvaluate(tokens.map((token) => [token, { generateNext: { logits: true } }]))
  const rows = found.map((result) => result.next.logits)
  const vocabulary = Math.max(...rows[0].keys()) + 1
  const out = new Float32Array(rows.length * vocabulary)
  rows.forEach((row, i) => {
    for (const [token, logit] of row) out[i * vocabulary + token] = logit
  })
  writeFileSync(rest[1], new Uint8Array(out.buffer))
  console.log(JSON.stringify({ tokens: rows.length, vocabulary }))
} else {
  const [, prompt, fresh, before = 0] = rest.map(Number)
  const context = await model.createContext({ contextSize: before + prompt + fresh + 8, threads, batchSize: 512 })
  const sequence = context.getSequence()
  // Any tokens will do: products take as long for all of them.
  const some = (count, from) => Array.from({ length: count }, (_, i) => 100 + ((from + i) * 7919) % 10000)
  const opened = performance.now()
  if (before > 0) await sequence.evaluateWithoutGeneratingNewTokens(some(before, 0))
  const start = performance.now()
  let first = 0
  let count = 0
  for await (const token of sequence.evaluate(some(prompt, before), { temperature: 0, yieldEogToken: true })) {
    if (count === 0 && token >= 0) first = performance.now()
    if (++count > fresh) break
  }
  const end = performance.now()
  console.log(JSON.stringify({ openMs: opened - began, firstMs: first - start, prefill: (1000 * prompt) / (first - start), decode: (1000 * (count - 1)) / (end - first), rss: process.memoryUsage().rss }))
}
process.exit(0)
