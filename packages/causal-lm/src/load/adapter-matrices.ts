import { Sha256 } from '@lowbit/core'
import type { LoraAdapter } from '../adapter/lora-adapter.js'
import type { ModelMatrix } from '../weights/matrix.js'
import type { Keeper, LoadedMatrix, LoadedWeights } from './load-weights.js'

/** The matrices of an adapter beside those of its base. What its product is multiplied by is in `up` already. */
export function withAdapterMatrices<M>(loaded: LoadedWeights<M>, keeper: Keeper<M>, { sites, rank, alpha }: LoraAdapter): LoadedWeights<M> {
  const matrices: Record<string, M> = { ...loaded.matrices }
  const report: LoadedMatrix[] = [...loaded.report]
  const hash = new Sha256().update(loaded.hash)
  for (const [site, { down, up }] of sites) {
    const scaled = up.map((v) => (v * alpha) / rank)
    for (const [name, shape, data] of [[`${site}/down`, [rank, down.length / rank], down], [`${site}/up`, [up.length / rank, rank], scaled]] as const) {
      const matrix: ModelMatrix = { dtype: 'float32', shape: [...shape], data: new Float32Array(data) }
      const kept = keeper.keep(matrix)
      if (kept === undefined) throw new TypeError('kernels without float32 matrices')
      matrices[name] = kept.kept
      report.push({ name, shape: [...shape], stored: 'adapter', held: 'float32', bytes: kept.bytes })
      hash.update(new Uint8Array(matrix.data.buffer))
    }
  }
  return { ...loaded, matrices, report, hash: hash.hex() }
}
