import type { HuggingFaceFolder } from '../huggingface/folder.js'
import { openHuggingFace } from '../huggingface/open-folder.js'
import { folderFiles, type FolderFilesOptions } from './folder-files.js'

/** Opens a model folder of Hugging Face by path. As {@link openHuggingFace}. */
export function openHuggingFaceFolder(path: string, options: FolderFilesOptions = {}): Promise<HuggingFaceFolder> {
  return openHuggingFace(folderFiles(path, options))
}
