import type { StoredTensor } from '@lowbit/formats/gguf'

/** Tensors by their names: however a model is cut into files, it stays the same. */
export function byName(tensors: ReadonlyMap<string, StoredTensor>): readonly StoredTensor[] {
  return [...tensors.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}
