import { isLowbitError, LowbitError } from '@lowbit/core'
import { blobSource, ggufTokenizer, memorySource, openGguf, openLlama2c, type ByteSource, type FileSet, type GgufFile, type GgufMetadata } from '@lowbit/formats/gguf'
import { openHuggingFace } from '@lowbit/formats/huggingface'
import { adaptedSource } from '../adapter/adapted-source.js'
import { checkAdapter, type LoraAdapter } from '../adapter/lora-adapter.js'
import { ADAPTER_CONFIG, readPeft } from '../adapter/peft.js'
import { ggufTokenizerFromLlama2c } from '../tokenizer/from-llama2c.js'
import { tokenizerFromFolder, tokenizerFromGguf, tokenizerFromLlama2c, type Tokenizer } from '../tokenizer/index.js'
import { ggufWeights } from '../weights/gguf.js'
import { huggingFaceWeights } from '../weights/hugging-face.js'
import type { WeightSource } from '../weights/weight-source.js'

/** A path (Node), a file, or the files of a folder. */
export type ModelInput = string | ByteSource | FileSet | Uint8Array<ArrayBuffer> | Blob

/** A model file that is open: its weights, and how its text is cut. */
export interface ModelFile {
  readonly name: string
  readonly weights: WeightSource
  /** Undefined where the file has none. @throws LOWBIT_FORMAT, LOWBIT_UNSUPPORTED. */
  tokenizer(): Tokenizer | undefined
  /** The same in the keys of GGUF, for files that are written; undefined where the file has none. @throws LOWBIT_FORMAT, LOWBIT_UNSUPPORTED for one that GGUF has no words for. */
  ggufTokenizer(): GgufMetadata | undefined
  /** The files of a folder. */
  readonly files?: FileSet
  /** Tokens that end a text, as `generation_config.json` names them. */
  readonly ends: readonly number[]
  /** Goes beside the weights: they are those of its base. */
  readonly adapter?: LoraAdapter
}

/** Finds out what an input is, and opens it. @throws LOWBIT_FORMAT, and what the readers throw. */
export async function openModelFile(input: ModelInput): Promise<ModelFile> {
  if (typeof input === 'string') return openPath(input)
  if (input instanceof Uint8Array) return openBytes(memorySource(input, 'model'))
  if (input instanceof Blob) return openBytes(blobSource(input))
  return 'list' in input ? openFolder(input) : openBytes(input)
}

const LLAMA2C_TOKENIZER = 'tokenizer.bin'

/** Keys of a tokenizer that no `tokenizer.json` was there for. */
export const TOKENIZER_GGUF = 'tokenizer.gguf'

/** It has no size of its own to be held against: 64 MB are more than any has. */
const MAX_TOKENIZER = 1 << 26

async function openPath(path: string, isBase = false): Promise<ModelFile> {
  const { dirname, folderFiles, join, openGgufFile, openRangeFile, readWholeFile } = await import('@lowbit/formats/node')
  const folder = folderFiles(path)
  const isFolder = await folder.list().then(() => true, () => false)
  if (isFolder) return (await folder.list()).includes('config.json') ? openFolder(folder) : openAdapted(folder, path, isBase)
  const source = await openRangeFile(path)
  const isGguf = await startsAsGguf(source)
  if (isGguf) {
    await source.close()
    return fromGguf(await openGgufFile(path))
  }
  // llama2.c keeps the tokenizer in a file of its own; of those in the folder only the usual name is taken.
  const isThere = (await folderFiles(dirname(path)).list()).includes(LLAMA2C_TOKENIZER)
  return fromLlama2c(source, isThere ? await readWholeFile(join(dirname(path), LLAMA2C_TOKENIZER), MAX_TOKENIZER) : undefined)
}

/** A folder that holds an adapter alone: its base is opened, and the adapter goes beside it. */
async function openAdapted(folder: FileSet, path: string, isBase: boolean): Promise<ModelFile> {
  if (!(await folder.list()).includes(ADAPTER_CONFIG)) return openFolder(folder)
  const { resolvePath } = await import('@lowbit/formats/node')
  if (isBase) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: path, found: 'an adapter as the base of another', expected: 'a model' })
  const { adapter, base } = await readPeft(folder)
  return withBase(await openPath(resolvePath(path, base), true), adapter, folder.name)
}

/** @throws LOWBIT_SHAPE, LOWBIT_NOT_FOUND for the adapter of another model */
export async function withBase(base: ModelFile, adapter: LoraAdapter, thing: string): Promise<ModelFile> {
  try {
    const weights = adaptedSource(base.weights, adapter)
    checkAdapter(adapter, weights.config, thing)
    return { ...base, weights, adapter }
  } catch (error) {
    await base.weights.close()
    throw error
  }
}

async function openBytes(source: ByteSource): Promise<ModelFile> {
  if (await startsAsGguf(source)) return fromGguf(await openGguf(source))
  return fromLlama2c(source, undefined)
}

const MAGIC = [0x47, 0x47, 0x55, 0x46]

async function startsAsGguf(source: ByteSource): Promise<boolean> {
  const start = await source.read(0, Math.min(4, source.size))
  return MAGIC.every((byte, i) => start[i] === byte)
}

async function fromGguf(file: GgufFile): Promise<ModelFile> {
  try {
    const weights = await ggufWeights(file)
    return { name: file.name, weights, ends: [], tokenizer: () => orNone(() => tokenizerFromGguf(file.metadata)), ggufTokenizer: () => tokenizerKeys(file.metadata) }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function openFolder(files: FileSet): Promise<ModelFile> {
  const folder = await openHuggingFace(files)
  try {
    const weights = huggingFaceWeights(folder)
    const named = folder.tokenizer === undefined && (await files.list()).includes(TOKENIZER_GGUF) ? await tokenizerKeysIn(files) : undefined
    return {
      name: folder.name, weights, files, ends: endsOf(folder.generation, weights.config.vocabulary, folder.name),
      tokenizer: () => orNone(() => (named === undefined ? tokenizerFromFolder(folder) : tokenizerFromGguf(named))),
      ggufTokenizer: () => named ?? orNone(() => ggufTokenizer(folder)),
    }
  } catch (error) {
    await folder.close()
    throw error
  }
}

async function fromLlama2c(source: ByteSource, tokenizer: Uint8Array | undefined): Promise<ModelFile> {
  const file = await openLlama2c(source)
  try {
    return { name: file.name, weights: await ggufWeights(file, 'llama2.c'), ends: [], tokenizer: () => (tokenizer === undefined ? undefined : tokenizerFromLlama2c(tokenizer)), ggufTokenizer: () => (tokenizer === undefined ? undefined : ggufTokenizerFromLlama2c(tokenizer)) }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** The tokenizer of a folder that came from a file without `tokenizer.json`. */
async function tokenizerKeysIn(files: FileSet): Promise<GgufMetadata> {
  const file = await openGguf(await files.open(TOKENIZER_GGUF))
  await file.close()
  return file.metadata
}

/** What a file says about its tokenizer: taken over as it is. */
function tokenizerKeys(metadata: GgufMetadata): GgufMetadata | undefined {
  const keys = new Map([...metadata].filter(([key]) => key.startsWith('tokenizer.')))
  return keys.size === 0 ? undefined : keys
}

/** A model without a tokenizer can still be measured and fed tokens. */
function orNone<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_NOT_FOUND')) return undefined
    throw error
  }
}

/** `eos_token_id`: one, some or none. @throws LOWBIT_FORMAT. */
function endsOf(generation: Readonly<Record<string, unknown>>, vocabulary: number, thing: string): readonly number[] {
  const found = generation['eos_token_id']
  if (found === undefined || found === null) return []
  const list: readonly unknown[] = Array.isArray(found) ? found : [found]
  if (!list.every((id): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabulary)) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}: generation_config.json`, found: `eos_token_id ${JSON.stringify(found).slice(0, 80)}`, expected: `tokens below ${vocabulary}` })
  }
  return list
}
