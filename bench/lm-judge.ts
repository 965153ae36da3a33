import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCausalLm } from '@lowbit/causal-lm'

const PEERS = fileURLToPath(new URL('peers/', import.meta.url))
/** Tokens of a text that are judged, and read at a time. */
const TOKENS = 256
const ROWS = 32

/**
 * `npm run bench -- lm-judge FILE.gguf [--text FILE] [--activations int8]`: our probabilities over the whole vocabulary against
 * those of native llama.cpp, both with float32 caches, as Kullback-Leibler divergence. Wants `bench/peers` installed.
 */
export async function judgeLm(args: readonly string[]): Promise<void> {
  if (!existsSync(`${PEERS}node_modules/node-llama-cpp`)) throw new Error('bench/peers is not installed: npm install --ignore-scripts --omit=optional there')
  const value = (flag: string): string | undefined => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined)
  const files = args.filter((arg, i) => arg.endsWith('.gguf') && args[i - 1]?.startsWith('--') !== true)
  const activations = value('--activations') === 'int8' ? 'int8' : 'float32'
  for (const file of files) {
    const text = value('--text')
    using model = await openCausalLm(file, { activations, cache: 'float32', threads: 1, ...(text === undefined ? { tokenizer: 'none' } : {}) })
    const { vocabulary } = model.config
    const tokens = text === undefined ? Array.from({ length: Math.min(100, model.config.context) }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919) % (vocabulary - 3)))) : model.needTokenizer().encode(readFileSync(text, 'utf8').slice(0, 8 * TOKENS), { bos: false }).slice(0, TOKENS)
    const theirs = llamaLogits(file, tokens)
    using session = model.session({ context: tokens.length, rows: ROWS, wanted: ROWS })
    let sum = 0
    let most = 0
    let same = 0
    for (let at = 0; at < tokens.length; at += ROWS) {
      const piece = tokens.slice(at, at + ROWS)
      const ours = await session.score(piece, piece.length)
      for (let i = 0; i < piece.length; i++) {
        const p = logProbabilities(theirs.subarray((at + i) * vocabulary, (at + i + 1) * vocabulary))
        const q = logProbabilities(ours.subarray(i * vocabulary, (i + 1) * vocabulary))
        const kl = p.reduce((total, log, v) => total + Math.exp(log) * (log - q[v]), 0)
        sum += kl
        most = Math.max(most, kl)
        if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) same++
      }
    }
    console.log(`${basename(file)}: ${tokens.length} tokens, activations ${activations}: mean KL ${(sum / tokens.length).toExponential(2)}, maximum ${most.toExponential(2)}, same likeliest ${((100 * same) / tokens.length).toFixed(1)} %`)
  }
}

/** In a process of its own: llama.cpp keeps threads and memory that would disturb ours. */
function llamaLogits(file: string, tokens: readonly number[]): Float32Array {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-judge-'))
  try {
    writeFileSync(join(folder, 'tokens.json'), JSON.stringify(tokens))
    const { status, stderr } = spawnSync(process.execPath, [`${PEERS}llama.mjs`, 'logits', file, join(folder, 'tokens.json'), join(folder, 'logits.f32')], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    return new Float32Array(new Uint8Array(readFileSync(join(folder, 'logits.f32'))).buffer)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function logProbabilities(logits: Float32Array): Float64Array {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity)
  const sum = logits.reduce((total, v) => total + Math.exp(v - top), 0)
  return Float64Array.from(logits, (v) => v - top - Math.log(sum))
}
