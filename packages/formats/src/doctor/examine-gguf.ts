import type { GgufFile } from '../gguf/gguf-file.js'
import { metadataNumber } from '../gguf/metadata.js'
import { brokenHalves } from './half-values.js'
import { bySeverity, type Finding } from './finding.js'

/** WebAssembly engines load a file into one buffer, which browsers bound. */
const LARGEST_BUFFER = 2 ** 31

/** Block types whose rows must be whole blocks of 256. */
const SUPER_BLOCKS = /^(Q[2-6]_K|IQ4_XS|TQ[12]_0)$/

const FLOATS = ['F32', 'F16', 'BF16']

/**
 * What is wrong with a GGUF file, or costs its users something. Values of float tensors are read.
 * @throws what reading throws: a file that cannot be read is no finding
 */
export async function examineGguf(file: GgufFile, signal?: AbortSignal): Promise<readonly Finding[]> {
  const found: Finding[] = []
  const tensors = [...file.tensors.values()].sort((a, b) => b.length - a.length)
  const total = tensors.reduce((sum, t) => sum + t.length, 0)
  const main = mainType(tensors)
  const names = (list: readonly { readonly name: string }[]): readonly string[] => list.map((t) => t.name)
  const share = (list: readonly { readonly length: number }[]): string => `${((100 * list.reduce((sum, t) => sum + t.length, 0)) / Math.max(1, total)).toFixed(0)} % of the file`

  if (SUPER_BLOCKS.test(main)) {
    const fallen = tensors.filter((t) => t.shape.length === 2 && t.type !== main && !FLOATS.includes(t.type) && (t.shape.at(-1) ?? 0) % 256 !== 0)
    if (fallen.length > 0) found.push({ rule: 'k-quant-fallback', severity: 'warning', where: names(fallen), found: `${fallen.length} matrices are ${[...new Set(fallen.map((t) => t.type))].join(', ')} in a file of ${main}: their rows are no multiple of 256 (${share(fallen)})`, cure: 'a type with blocks of 32 fits every row: lowbit lm quantize --to q4_0, q5_0 or q4_1' })
  }
  const wide = tensors.filter((t) => t.shape.length === 2 && FLOATS.includes(t.type))
  if (wide.length > 0 && !FLOATS.includes(main)) found.push({ rule: 'float-matrices', severity: 'warning', where: names(wide), found: `${wide.length} matrices are still ${[...new Set(wide.map((t) => t.type))].join(', ')} (${share(wide)})`, cure: 'quantize the embedding and the head too: lowbit lm quantize does by default' })
  const output = file.tensors.get('output.weight')
  const embedding = file.tensors.get('token_embd.weight')
  if (output !== undefined && embedding !== undefined && output.type === embedding.type && output.length === embedding.length && output.length > 1 << 12 && (await sameBytes(file))) found.push({ rule: 'tied-twice', severity: 'warning', where: ['output.weight'], found: `the head is the embedding, stored twice (${share([output])})`, cure: 'leave output.weight out: readers take token_embd.weight then' })
  if (total > LARGEST_BUFFER && new Set(tensors.map((t) => t.part)).size === 1) found.push({ rule: 'over-2-gb', severity: 'warning', where: [], found: `${(total / 1e9).toFixed(1)} GB in one file: wllama and browsers take 2 GB a file`, cure: 'split it: llama-gguf-split --split-max-size 2G' })
  found.push(...metadataFindings(file))
  const broken = await brokenHalves(file, names(tensors.filter((t) => FLOATS.includes(t.type))), signal)
  if (broken.size > 0) found.push({ rule: 'not-finite', severity: 'error', where: [...broken.keys()], found: `${[...broken.values()].reduce((a, b) => a + b, 0)} values are NaN or infinite: every answer may become NaN`, cure: 'convert the model again; what overflows float16 needs F32 or BF16' })
  return bySeverity(found)
}

/** The type that most bytes of matrices have. */
function mainType(tensors: readonly { readonly type: string; readonly length: number; readonly shape: readonly number[] }[]): string {
  const bytes = new Map<string, number>()
  for (const { type, length, shape } of tensors) if (shape.length === 2) bytes.set(type, (bytes.get(type) ?? 0) + length)
  return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'F32'
}

function metadataFindings({ metadata, tensors }: GgufFile): Finding[] {
  const found: Finding[] = []
  const architecture = metadata.get('general.architecture')?.value
  const tokens = metadata.get('tokenizer.ggml.tokens')?.value
  const key = (name: string): string => `${String(architecture)}.${name}`
  if (typeof architecture !== 'string') found.push({ rule: 'architecture', severity: 'error', where: [], found: 'general.architecture is missing: no runtime knows how to compute this', cure: 'convert the model again' })
  else {
    const missing = ['block_count', 'context_length', 'embedding_length', 'attention.head_count'].map(key).filter((name) => metadataNumber(metadata, name) === undefined)
    if (missing.length > 0) found.push({ rule: 'metadata', severity: 'error', where: missing, found: `${missing.join(', ')} missing: llama.cpp refuses the file`, cure: 'convert the model again' })
  }
  const rows = tensors.get('token_embd.weight')?.shape[0]
  if (tokens === undefined) found.push({ rule: 'no-tokenizer', severity: 'error', where: [], found: 'no tokenizer: text cannot be read', cure: 'convert the model again from a folder with its tokenizer' })
  else if (Array.isArray(tokens) && rows !== undefined && tokens.length !== rows) found.push({ rule: 'vocabulary', severity: 'error', where: ['token_embd.weight'], found: `${tokens.length} tokens for ${rows} rows of the embedding`, cure: 'convert the model again: tokenizer and weights are of different versions' })
  if (tokens !== undefined && metadata.get('tokenizer.ggml.model')?.value === 'gpt2' && metadata.get('tokenizer.ggml.pre') === undefined) found.push({ rule: 'pre-tokenizer', severity: 'warning', where: [], found: 'tokenizer.ggml.pre is missing: runtimes guess how words are cut, and mostly guess wrong', cure: 'convert the model again with a newer converter' })
  if (metadata.get('tokenizer.chat_template') === undefined && /instruct|chat|-it\b/i.test(String(metadata.get('general.name')?.value ?? ''))) found.push({ rule: 'no-chat-template', severity: 'warning', where: [], found: 'a model for conversations without its template: chats are put together in another form than it was trained on', cure: 'convert the model again from a folder with chat_template' })
  return found
}

async function sameBytes(file: GgufFile): Promise<boolean> {
  const row = { from: 0, count: 1 }
  const rows = file.tensors.get('output.weight')?.shape[0] ?? 1
  for (const from of new Set([0, Math.floor(rows / 2), rows - 1])) {
    const [a, b] = [await file.bytes('output.weight', { ...row, from }), await file.bytes('token_embd.weight', { ...row, from })]
    if (a.length !== b.length || a.some((byte, i) => byte !== b[i])) return false
  }
  return true
}
