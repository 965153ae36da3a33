import { basename, dirname } from 'node:path'
import type { GgufFile } from '../gguf/gguf-file.js'
import { openGgufIn } from '../gguf/open.js'
import { folderFiles, type FolderFilesOptions } from './folder-files.js'

/** Opens a GGUF model by path; the parts of a split one are found beside it. As {@link openGgufIn}. */
export function openGgufFile(path: string, options: FolderFilesOptions = {}): Promise<GgufFile> {
  return openGgufIn(folderFiles(dirname(path), options), basename(path))
}
