import { LowbitError, type Scheme } from '@lowbit/core'
import { partsOf } from '../forward/parts.js'
import type { ModelConfig } from '../config/model-config.js'

/** Two matrices of low rank: `down [rank, K]`, `up [N, rank]`. */
export interface AdapterFactors {
  readonly down: Float32Array
  readonly up: Float32Array
}

/** What was trained beside a frozen base: `y = x·Wᵀ + alpha / rank · (x·downᵀ)·upᵀ`. */
export interface LoraAdapter {
  readonly rank: number
  readonly alpha: number
  /** By the name of the matrix: `layers.0.q`. */
  readonly sites: ReadonlyMap<string, AdapterFactors>
  /** Layers of the base that are kept; absent: all. */
  readonly layers?: number
  /** What the base's float matrices were while it was trained; absent: they stay as they are in their file. */
  readonly base?: {
    readonly scheme: Scheme
    readonly doubleQuantized: boolean
    /** Where they were quantized from something else than the weight (LoftQ). */
    readonly from: ReadonlyMap<string, AdapterFactors>
  }
}

/** @throws LOWBIT_SHAPE, LOWBIT_NOT_FOUND for an adapter of another model */
export function checkAdapter(adapter: LoraAdapter, config: ModelConfig, thing: string): void {
  const parts = new Map(partsOf(config).map((part) => [part.name, part]))
  for (const [name, { down, up }] of [...adapter.sites, ...(adapter.base?.from ?? [])]) {
    const part = parts.get(name)
    if (part?.kind !== 'matrix') throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `an adapter for ${name}`, expected: `a matrix of the base, which has ${config.layers} layers`, fix: 'open it beside the base that it was trained on' })
    const [rows, columns] = part.shape
    if (down.length !== adapter.rank * columns || up.length !== rows * adapter.rank) throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}: ${name}`, found: `${down.length} and ${up.length} values at rank ${adapter.rank}`, expected: `${adapter.rank * columns} and ${rows * adapter.rank} for [${rows}, ${columns}]`, fix: 'open it beside the base that it was trained on' })
  }
}
