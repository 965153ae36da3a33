import type { TensorSource } from '../bytes/tensor-source.js'

/** Values read at a time. */
const ROWS_BYTES = 1 << 24

/** How many infinities and NaN float16 and bfloat16 tensors hold, by tensor. Rows are read a few at a time. */
export async function brokenHalves(source: TensorSource, names: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const broken = new Map<string, number>()
  for (const name of names) {
    const tensor = source.tensors.get(name)
    if (tensor === undefined) continue
    const [rows = 1] = tensor.shape
    const step = tensor.shape.length < 2 ? rows : Math.max(1, Math.floor((ROWS_BYTES * rows) / Math.max(1, tensor.length)))
    let count = 0
    for (let from = 0; from < rows; from += step) {
      signal?.throwIfAborted()
      const { data } = await source.floats(name, tensor.shape.length < 2 ? undefined : { from, count: Math.min(step, rows - from) })
      for (const value of data) if (!Number.isFinite(value)) count++
      if (tensor.shape.length < 2) break
    }
    if (count > 0) broken.set(name, count)
  }
  return broken
}
