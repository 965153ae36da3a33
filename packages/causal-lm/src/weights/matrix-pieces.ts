import type { RowForm } from '@lowbit/core'
import type { PieceOfMatrix } from './matrix.js'

/** A matrix that is read some rows at a time. */
export interface MatrixPieces {
  /** What all rows have in common. */
  readonly form: RowForm
  /** All rows in order. A piece is valid until the next one is asked for. */
  read(): AsyncGenerator<PieceOfMatrix>
}

/** Values of a piece: of a model of any size the rest of what loading needs. */
const VALUES = 1 << 20

/** Rows of a piece: whole multiples of `each`. */
export function rowsOfPiece(columns: number, each = 1): number {
  return each * Math.max(1, Math.floor(VALUES / columns / each))
}
