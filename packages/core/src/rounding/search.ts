import type { GramStatistic } from '../contract/statistics.js'
import type { QTensor } from '../qtensor.js'
import type { Scheme } from '../scheme.js'
import { roundToNearest } from './rtn.js'

export function searchWeights(w: Float32Array, rows: number, columns: number, scheme: Scheme, gram?: GramStatistic): QTensor {
  void gram
  return roundToNearest(w, rows, columns, scheme)
}
