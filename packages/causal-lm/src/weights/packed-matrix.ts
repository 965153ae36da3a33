import { groupedToQTensor, groupedValues, type GroupedWeight } from '@lowbit/formats/checkpoints'
import type { ModelMatrix } from './matrix.js'

/**
 * A packed weight of a checkpoint with its exact meaning. Where kernels have no form for it (columns in an order of their own,
 * groups that run across rows) it becomes its values.
 */
export function packedMatrix(w: GroupedWeight): ModelMatrix {
  const { shape, group, codes, scales, minima } = w
  const isCrossing = w.flat === true && shape[1] % group !== 0
  if (w.columns !== undefined || isCrossing) return { dtype: 'float32', shape, data: groupedValues(w) }
  if (w.table === undefined && (minima !== undefined || codes instanceof Int8Array)) return { shape, codes, group, scales, ...(minima === undefined ? {} : { minima }) }
  return groupedToQTensor(w)
}
