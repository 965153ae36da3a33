import type { Batch } from '../contract/v2/host.js'
import { tensor } from '../tensor.js'
import { TOY_SITES } from './toy-model.js'
import { toyNormal, toyRandom } from './toy-random.js'

export interface ToyDataOptions {
  readonly seed?: number
  /** Default 4. */
  readonly batches?: number
  /** Examples a batch. Default 16. */
  readonly rows?: number
}

/** Batches for {@link toyHost}: random ids, and images whose channels go together. */
export function toyBatches({ seed = 7, batches = 4, rows = 16 }: ToyDataOptions = {}): readonly Batch[] {
  const random = toyRandom(seed)
  return Array.from({ length: batches }, () => {
    const ids = Int32Array.from({ length: rows }, () => Math.floor(random() * TOY_SITES['embed'].rows))
    const image = new Float32Array(rows * 4 * 25)
    for (let r = 0; r < rows; r++) {
      for (let p = 0; p < 25; p++) {
        const common = toyNormal(random)
        for (let c = 0; c < 4; c++) image[(r * 4 + c) * 25 + p] = (common + 0.5 * toyNormal(random)) * (c === 2 ? 6 : 1)
      }
    }
    return { ids: tensor('int32', [rows], ids), image: tensor('float32', [rows, 4, 5, 5], image) }
  })
}
