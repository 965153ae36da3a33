import { codebook, nearestCode } from '../numbers/codebook.js'
import { tableValues } from '../reference/dequantize.js'
import type { TableCode } from '../scheme.js'
import type { RoundingTarget } from './block.js'
import type { Granules } from './granules.js'

/** Nearest entry of a table type, the largest magnitude of a granule on the largest entry: NF4, FP4 and the float8 types. */
export function roundTable(w: Float32Array, granules: Granules, dtype: TableCode, target: RoundingTarget, start = 0, end = granules.count): void {
  const values = tableValues(dtype)
  const book = codebook(values)
  const reach = values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0)
  const zero = nearestCode(book, 0)
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const to = from + granules.length(granule) * granules.stride
    let top = 0
    for (let i = from; i < to; i += granules.stride) top = Math.max(top, Math.abs(w[i] as number))
    const scale = Math.fround(top / reach)
    target.scales[granule] = scale
    for (let i = from; i < to; i += granules.stride) target.codes[i] = scale === 0 ? zero : nearestCode(book, (w[i] as number) / scale)
  }
}
