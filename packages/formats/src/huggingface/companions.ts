import { readSmallFile, type FileSet } from '../bytes/file-set.js'
import { FOLDER_LIMITS } from './open-folder.js'

/** Files of a model folder that go with its weights wherever they go; `config.json`, which says how they are stored, is not among them. */
const COMPANIONS: readonly string[] = [
  'tokenizer.json', 'tokenizer_config.json', 'tokenizer.model', 'special_tokens_map.json', 'added_tokens.json', 'generation_config.json', 'vocab.json', 'vocab.txt', 'merges.txt',
  'chat_template.jinja', 'chat_template.json', 'preprocessor_config.json', 'processor_config.json', 'LICENSE',
]

/** A file that is taken along. */
export interface CompanionFile {
  readonly name: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** Tokenizer, template, preprocessing and licence of a folder, those that are there. @throws LOWBIT_LIMIT for one past 256 MB, LOWBIT_FILE */
export async function readCompanions(files: FileSet): Promise<readonly CompanionFile[]> {
  const names = new Set(await files.list())
  const found: CompanionFile[] = []
  for (const name of COMPANIONS.filter((n) => names.has(n))) found.push({ name, bytes: await readSmallFile(files, name, FOLDER_LIMITS.jsonBytes) })
  return found
}
