import { fromBfloat16, fromFloat16, hasDType, LowbitError, type HostTensor } from '@lowbit/core'
import { bytesOf, readSafetensors, type Rows } from '@lowbit/formats'
import type { HuggingFaceFolder } from '@lowbit/formats/huggingface'

/** A model folder of one safetensors file, in memory. */
export function folderOf(config: Readonly<Record<string, unknown>>, safetensors: Uint8Array, name = 'folder'): HuggingFaceFolder {
  const file = readSafetensors(safetensors, name)
  const rowsOf = (t: HostTensor, rows: Rows | undefined): HostTensor => {
    if (rows === undefined) return t
    const each = t.data.length / t.shape[0]
    return { ...t, shape: [rows.count, ...t.shape.slice(1)], data: t.data.slice(rows.from * each, (rows.from + rows.count) * each) as typeof t.data }
  }
  return {
    name, config, generation: {}, tokenizer: undefined, tokenizerConfig: {}, chatTemplate: undefined,
    tensors: new Map([...file.entries].map(([key, { type, shape, length }]) => [key, { name: key, type, shape, length }])),
    host: async (key) => file.read(key),
    bytes: async (key, rows) => bytesOf(rowsOf(file.read(key), rows).data),
    async floats(key, rows) {
      const t = rowsOf(file.read(key), rows)
      if (hasDType(t, 'float32')) return t
      if (hasDType(t, 'bfloat16')) return { dtype: 'float32', shape: t.shape, data: fromBfloat16(t.data) }
      if (hasDType(t, 'float16')) return { dtype: 'float32', shape: t.shape, data: fromFloat16(t.data) }
      throw new LowbitError('LOWBIT_DTYPE', { thing: key, found: t.dtype })
    },
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  }
}
