import { LowbitError } from '@lowbit/core'
import { readSmallFile, type FileSet } from '../bytes/file-set.js'
import type { ByteSource } from '../bytes/byte-source.js'
import type { HuggingFaceFolder } from './folder.js'
import { openSafetensorsSource } from './safetensors-source.js'

type Json = Readonly<Record<string, unknown>>

/** Longest files read whole: the tokenizer.json of a vocabulary of 260,000 has 33 MB. */
export const FOLDER_LIMITS = { jsonBytes: 256 << 20, templateBytes: 1 << 20, shards: 1 << 12 } as const

const INDEX = 'model.safetensors.index.json'
const SINGLE = 'model.safetensors'

/**
 * Opens a model folder of Hugging Face: config.json and its companions are read, the headers of all safetensors files checked, against the index
 * too where there is one. Tensors are read when asked for.
 * @throws LOWBIT_NOT_FOUND for a file that is missing, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT, LOWBIT_FILE.
 */
export async function openHuggingFace(files: FileSet): Promise<HuggingFaceFolder> {
  const names = new Set(await files.list())
  const json = async (name: string): Promise<Json | undefined> => (names.has(name) ? readJson(files, name) : undefined)
  const config = await json('config.json')
  if (config === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: files.name, found: 'no config.json', expected: 'a model folder of Hugging Face', fix: 'download the whole folder of the model' })
  const tokenizerConfig = (await json('tokenizer_config.json')) ?? {}
  const [generation, tokenizer] = [(await json('generation_config.json')) ?? {}, await json('tokenizer.json')]
  const chatTemplate = names.has('chat_template.jinja') ? new TextDecoder().decode(await readSmallFile(files, 'chat_template.jinja', FOLDER_LIMITS.templateBytes)) : templateOf(tokenizerConfig)
  const weights = await openWeights(files, names)
  return {
    name: files.name, config, generation, tokenizer, tokenizerConfig, chatTemplate,
    tensors: weights.tensors,
    bytes: (name, rows) => weights.bytes(name, rows),
    host: (name) => weights.host(name),
    floats: (name, rows) => weights.floats(name, rows),
    close: () => weights.close(),
    [Symbol.asyncDispose]: () => weights.close(),
  }
}

async function readJson(files: FileSet, name: string): Promise<Json> {
  const thing = `${files.name}: ${name}`
  const bytes = await readSmallFile(files, name, FOLDER_LIMITS.jsonBytes)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no JSON', expected: 'a JSON object', fix: 'it may be cut short: download it again', cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'JSON that is no object', expected: 'a JSON object' })
  return value as Json
}

/** A text, or the one named `default` (else the first) of a list. */
function templateOf(config: Json): string | undefined {
  const template = config['chat_template']
  if (typeof template === 'string') return template
  if (!Array.isArray(template)) return undefined
  const named = template.filter((entry): entry is { readonly name: string; readonly template: string } => typeof entry === 'object' && entry !== null && typeof entry.name === 'string' && typeof entry.template === 'string')
  return (named.find((entry) => entry.name === 'default') ?? named[0])?.template
}

async function openWeights(files: FileSet, names: ReadonlySet<string>) {
  const index = names.has(INDEX) ? readWeightMap(await readJson(files, INDEX), `${files.name}: ${INDEX}`) : undefined
  const shards = index === undefined ? [singleFile(files, names)] : [...new Set(index.values())].sort()
  const opened: ByteSource[] = []
  try {
    for (const shard of shards) {
      if (!names.has(shard)) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: files.name, found: `no file '${shard}'`, expected: `the ${shards.length} files that ${INDEX} names`, fix: 'download the missing files' })
      opened.push(await files.open(shard))
    }
  } catch (error) {
    await Promise.all(opened.map((source) => source.close()))
    throw error
  }
  const weights = await openSafetensorsSource(opened, files.name)
  for (const [tensor, shard] of index ?? []) {
    const part = weights.tensors.get(tensor)?.part
    if (part === undefined || shards[part] !== shard) {
      await weights.close()
      throw new LowbitError('LOWBIT_FORMAT', { thing: `${files.name}: tensor '${tensor}'`, found: part === undefined ? `not in ${shard}` : `in ${shards[part]}`, expected: `in ${shard}, as ${INDEX} says`, fix: 'the files may come from different versions: download the folder again' })
    }
  }
  return weights
}

/** Tensor → file of a sharded model. Files are named, not paths. */
function readWeightMap(json: Json, thing: string): Map<string, string> {
  const map = json['weight_map']
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no weight_map', expected: 'an object: tensor to file' })
  const entries = Object.entries(map)
  for (const [tensor, file] of entries) {
    if (typeof file !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(file)) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}: '${tensor}'`, found: JSON.stringify(file)?.slice(0, 100) ?? 'nothing', expected: 'the name of a safetensors file' })
  }
  const files = new Set(entries.map(([, file]) => file))
  if (files.size > FOLDER_LIMITS.shards) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `${files.size} files`, expected: `at most ${FOLDER_LIMITS.shards}` })
  return new Map(entries)
}

function singleFile(files: FileSet, names: ReadonlySet<string>): string {
  if (names.has(SINGLE)) return SINGLE
  const others = [...names].filter((name) => name.endsWith('.safetensors'))
  const [only] = others
  if (only !== undefined && others.length === 1) return only
  const pickled = [...names].some((name) => name.endsWith('.bin') || name.endsWith('.pth'))
  throw new LowbitError('LOWBIT_NOT_FOUND', {
    thing: files.name,
    found: others.length > 1 ? `${others.length} safetensors files and no index` : pickled ? 'weights as pickled PyTorch files only' : 'no weights',
    expected: `${SINGLE}, or ${INDEX} and the files it names`,
    fix: pickled ? 'save the model again with safe_serialization=True' : 'download the whole folder of the model',
  })
}
