import { readFile } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import type { HostTensor } from '@lowbit/core'
import { readNpy, readNpz, readSafetensors } from '@lowbit/formats'

export const TENSOR_EXTENSIONS: readonly string[] = ['.npz', '.npy', '.safetensors']

/** Arrays of a file by name; a `.npy` file has one, named after the file. */
export async function readTensors(file: string): Promise<ReadonlyMap<string, HostTensor>> {
  const bytes = await readFile(file)
  const extension = extname(file).toLowerCase()
  if (extension === '.npy') return new Map([[basename(file, extension), readNpy(bytes, file)]])
  if (extension === '.npz') {
    const archive = readNpz(bytes, { name: file })
    return new Map(archive.names.map((name) => [name, archive.read(name)]))
  }
  const tensors = readSafetensors(bytes, file)
  return new Map([...tensors.entries.keys()].map((name) => [name, tensors.read(name)]))
}
