import { LowbitError } from '@lowbit/core'
import type { ModelConfig } from '../config/model-config.js'

/** gemma's factor is rounded to bfloat16 by one side and not by the other. */
const NEAR: Readonly<Record<string, number>> = { embeddingScale: 0.01 }

/** Holds what was written, read back, against what was meant. @throws LOWBIT_UNSUPPORTED naming the first field that did not come back */
export function expectSame(wanted: ModelConfig, read: ModelConfig, name: string, file: string): void {
  for (const key of Object.keys(wanted) as (keyof ModelConfig)[]) {
    if (!isNear(wanted[key], read[key], NEAR[key] ?? 1e-5)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: `${key} ${show(wanted[key])}, which ${file} has no place for`, expected: show(read[key]) })
  }
}

const show = (value: unknown): string => String(JSON.stringify(value, (_, v: unknown) => (ArrayBuffer.isView(v) ? '…' : v))).slice(0, 80)

function isNear(a: unknown, b: unknown, near: number): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= near * Math.max(Math.abs(a), Math.abs(b))
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const [x, y] = [Object.entries(a), Object.entries(b)]
  return x.length === y.length && x.every(([, value], i) => isNear(value, y[i][1], near))
}
