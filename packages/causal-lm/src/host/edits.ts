import { rotateRows } from '@lowbit/core'

/** A change of a weight `[N, K]` that is made whenever it is read: a whole model of changed weights is never in memory. */
export type MatrixEdit =
  | { readonly kind: 'replace'; readonly weight: Float32Array }
  /** Column k (row n) times its factor. */
  | { readonly kind: 'scale-columns' | 'scale-rows'; readonly factors: Float32Array }
  /** Rows turned in blocks of `order` columns, or columns in blocks of `order` rows. */
  | { readonly kind: 'rotate-columns' | 'rotate-rows'; readonly signs: Int8Array; readonly order: number }

/** The edits after one more: what a replacement makes void is forgotten. */
export function withEdit(edits: readonly MatrixEdit[] | undefined, edit: MatrixEdit): readonly MatrixEdit[] {
  return edit.kind === 'replace' ? [edit] : [...(edits ?? []), edit]
}

/** Carries out edits in their order, in place. @param weight - `[rows, columns]` */
export function applyEdits(weight: Float32Array, rows: number, columns: number, edits: readonly MatrixEdit[]): void {
  for (const edit of edits) {
    switch (edit.kind) {
      case 'replace':
        weight.set(edit.weight)
        break
      case 'scale-columns':
        for (let i = 0; i < weight.length; i++) weight[i] *= edit.factors[i % columns]
        break
      case 'scale-rows':
        for (let n = 0; n < rows; n++) for (let k = n * columns; k < (n + 1) * columns; k++) weight[k] *= edit.factors[n]
        break
      case 'rotate-columns':
        rotateRows(weight, edit.signs, edit.order)
        break
      case 'rotate-rows': {
        const turned = transposed(weight, rows, columns)
        rotateRows(turned, edit.signs, edit.order)
        weight.set(transposed(turned, columns, rows))
      }
    }
  }
}

function transposed(m: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(m.length)
  for (let n = 0; n < rows; n++) for (let k = 0; k < columns; k++) out[k * rows + n] = m[n * columns + k]
  return out
}
