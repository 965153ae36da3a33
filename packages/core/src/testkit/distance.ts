import type { Batch } from '../contract/v2/host.js'
import { check } from './runner.js'

/** Largest difference of float outputs, relative to the largest value of the first. */
export function distance(a: Batch, b: Batch): number {
  let worst = 0
  for (const [name, x] of Object.entries(a)) {
    const y = b[name]
    check(y !== undefined && sameShape(x.shape, y.shape), `output ${name} is missing or changes its shape`)
    let largest = 0
    let moved = 0
    for (let i = 0; i < x.data.length; i++) {
      largest = Math.max(largest, Math.abs(Number(x.data[i])))
      moved = Math.max(moved, Math.abs(Number(x.data[i]) - Number(y.data[i])))
    }
    worst = Math.max(worst, largest === 0 ? moved : moved / largest)
  }
  return worst
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((v, i) => v === b[i])
}
