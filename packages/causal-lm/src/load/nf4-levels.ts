import { dequantize, dequantizeGrouped, type GroupedTensor, isIntegerCode, type QTensor, tableValues } from '@lowbit/core'

/**
 * Codes of a table (NF4, FP4) as codes of whole numbers of a byte, for kernels that multiply whole numbers: each value becomes
 * the nearest of 255 steps. Undefined for other codes, and for granules that are no groups along K.
 */
export function tableOfLevels(q: QTensor): { readonly matrix: GroupedTensor; readonly error: number } | undefined {
  const { dtype, granularity } = q.scheme
  if (isIntegerCode(dtype) || (dtype !== 'nf4' && dtype !== 'fp4') || !(q.codes instanceof Uint8Array) || q.shape.length !== 2) return undefined
  const [rows, columns] = q.shape
  const group = granularity.kind === 'group' && granularity.axis === 1 ? granularity.size : granularity.kind === 'channel' && granularity.axis === 0 ? columns : undefined
  if (group === undefined) return undefined
  const levels = Int8Array.from(tableValues(dtype), (v) => Math.round(v * 127))
  const matrix: GroupedTensor = { shape: [rows, columns], codes: q.codes, group, scales: q.params.scales.map((s) => s / 127), levels }
  return { matrix, error: relativeError(dequantize(q).data, dequantizeGrouped(matrix).data) }
}

/** `Σ(w − ŵ)² / Σw²` */
export function relativeError(want: Float32Array, got: Float32Array): number {
  let error = 0
  let energy = 0
  for (let i = 0; i < want.length; i++) {
    error += (want[i] - got[i]) ** 2
    energy += want[i] ** 2
  }
  return energy === 0 ? 0 : error / energy
}
