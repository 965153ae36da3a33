import { openCausalLm } from '@lowbit/causal-lm'
import { weightScheme } from '@lowbit/core'

/**
 * One run of ours in a process of its own; prints one line of JSON, as `peers/llama.mjs speed` does.
 * `lm-ours.ts FILE THREADS PROMPT NEW BEFORE [int4 | ternary]`: what floats become while loading.
 */
const [file = '', ...rest] = process.argv.slice(2)
const [threads = 1, prompt = 128, fresh = 64, before = 0] = rest.slice(0, 4).map(Number)
// what opening a file loads when it first happens: modules count for neither side
await import('@lowbit/formats/node')
globalThis.gc?.()
const empty = process.memoryUsage().rss
const began = performance.now()
using model = await openCausalLm(file, { threads, context: before + prompt + fresh + 8, ...(rest[4] === 'ternary' ? { weights: weightScheme('ternary') } : rest[4] === 'int4' ? { weights: weightScheme('int4', { group: 32 }) } : {}) })
using session = model.session()
const some = (count: number, from: number): number[] => Array.from({ length: count }, (_, i) => 100 + ((from + i) * 7919) % 10000)
const opened = performance.now()
if (before > 0) await session.extend(some(before, 0))
const start = performance.now()
let logits = await session.extend(some(prompt, before))
const first = performance.now()
for (let i = 0; i < fresh; i++) {
  let best = 0
  for (let v = 1; v < logits.length; v++) if (logits[v] > logits[best]) best = v
  logits = await session.extend([best])
}
const end = performance.now()
console.log(JSON.stringify({
  openMs: opened - began, firstMs: first - start, prefill: (1000 * prompt) / (first - start), decode: (1000 * fresh) / (end - first),
  rss: process.memoryUsage().rss, grown: process.resourceUsage().maxRSS * 1024 - empty, held: model.matrices.reduce((sum, { bytes }) => sum + bytes, 0), cache: session.bytes, engine: model.engine,
}))
process.exit(0)
