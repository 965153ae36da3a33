import type { HostTensor } from '../../tensor.js'
import type { Plugin } from './plugin.js'
import type { Ops } from './training.js'

/** A frozen matrix `[rows, columns]` that an adapter goes beside. */
export interface AdapterSite {
  readonly id: string
  readonly rows: number
  readonly columns: number
}

/** What an adapter starts from. */
export interface AdapterJob {
  readonly site: AdapterSite
  /** The float matrix, where it is known: a base that came in codes is all there is. */
  readonly weight?: HostTensor<'float32'>
  /** Values of the base as it will be kept. Absent: it is kept as it came. */
  readonly quantize?: (weight: HostTensor<'float32'>) => HostTensor<'float32'>
  readonly seed: number
}

export interface AdapterStart {
  /** `[rank, columns]` */
  readonly down: Float32Array
  /** `[rows, rank]` */
  readonly up: Float32Array
  /** The base is quantized from `weight − scale · up·down` of these, where that is not the weight itself (LoftQ). */
  readonly base?: { readonly down: Float32Array; readonly up: Float32Array }
}

/** Trains a product of two small matrices beside a frozen one: `y = x·Wᵀ + scale · (x·downᵀ)·upᵀ`. */
export interface AdapterAlgorithm extends Plugin<'adapter'> {
  readonly rank: number
  readonly scale: number
  /** @throws LOWBIT_ARGUMENT for a matrix that the rank is too large for. */
  start(job: AdapterJob): AdapterStart
  /** What is added to the product of x `[M, columns]`: `[M, rows]`. */
  forward<T>(ops: Ops<T>, x: T, down: T, up: T): T
}
