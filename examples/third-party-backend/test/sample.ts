import type { Batch } from '@lowbit/core'
import { writeMlp, type Layer } from '../src/mlp.js'

const wave = (length: number, step: number): Float32Array<ArrayBuffer> => Float32Array.from({ length }, (_, i) => Math.sin(i * step + step) / 2)

/** A model file with three layers, 8 → 16 → 12 → 4. */
export function sampleModel(): Uint8Array {
  const layer = (rows: number, columns: number, step: number): Layer => ({ rows, columns, weight: wave(rows * columns, step), bias: wave(rows, step / 3) })
  return writeMlp([layer(16, 8, 0.7), layer(12, 16, 1.3), layer(4, 12, 2.1)], {})
}

/** Two batches for it. */
export function sampleBatches(): readonly Batch[] {
  return [0.9, 1.9].map((step): Batch => ({ x: { dtype: 'float32', shape: [5, 8], data: wave(40, step) } }))
}
