import { join } from 'node:path'
import type { CheckpointStore } from '@lowbit/causal-lm/train'
import { atomicWrite, folderFiles, readWholeFile, removeFiles } from '@lowbit/formats/node'

const NAME = '.training.safetensors'
const MAX_STATE = 2 ** 33

/** The state of a training in its output folder, until it is done. */
export function trainingStore(folder: string): CheckpointStore & { remove(): Promise<void> } {
  const path = join(folder, NAME)
  return {
    async load() {
      return (await folderFiles(folder).list()).includes(NAME) ? readWholeFile(path, MAX_STATE) : undefined
    },
    save: (bytes) => atomicWrite(path, [bytes]),
    remove: () => removeFiles(folder, (name) => name === NAME),
  }
}
