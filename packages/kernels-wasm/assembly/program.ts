import { attend, attentionItems } from './attention'
import * as Job from './job'
import { multiply, multiplyByFloats } from './multiply'
import { runRows } from './rows'
import * as Step from './step'

/**
 * The words of a program (`src/program/header.ts` has the same). Its steps are put together in phases: steps that work on
 * each row by itself follow one another on a piece of the rows; products share out blocks of weights, attention rows and heads.
 */
const ROWS: usize = 0
const WANTED: usize = 4
const START: usize = 8
const TOKENS: usize = 12
const PHASES: usize = 16
/** `[phase]` of four words: kind, address of the first step, steps, 1 if it works on the wanted rows. */
const PHASE_TABLE: usize = 20
const THREADS: usize = 24
const SCRATCH: usize = 28
const SCRATCH_STRIDE: usize = 32
/** 0, or 1 + the first step that met values that are not finite; and 1 + the row. */
const FAILED: usize = 36
const FAILED_ROW: usize = 40

/** Kinds of phases. */
const BY_ROW: i32 = 0
const PRODUCTS: i32 = 1
const ATTENTION: i32 = 2

/** Where threads meet, from the control block (`src/control.ts`): `phase << 32 | pieces << 16 | next piece`, and pieces done. */
const TICKET: usize = 64
const PROGRAM: usize = 72
const DONE: usize = 136
/** A thread has trapped: the others give up. */
const TRAPPED: usize = 44
/** The phase of a ticket that stands for no run. */
export const CLOSED: i64 = <i64>0x7fffffff << 32

/** Pieces that a phase is cut into for each thread: the others take over what a thread that is not run has left. */
const PIECES: i32 = 4
/** A piece of a product has at least so many blocks of eight rows. */
const LEAST_BLOCKS: i32 = 4

/** Tells the steps of a run how many rows they have, and opens its first phase. Only the caller's thread does this. */
export function beginProgram(control: usize, program: usize): void {
  const phases = load<i32>(program, PHASES)
  store<i32>(program, 0, FAILED)
  for (let i = 0; i < phases; i++) {
    const phase = load<usize>(program, PHASE_TABLE) + (<usize>i << 4), rows = rowsOf(program, phase)
    for (let n = load<i32>(phase, 8), step = load<usize>(phase, 4); n > 0; n--, step += Step.BYTES) {
      const op = Step.word(step, Step.OP)
      if (op == Step.LINEAR || op == Step.QUANTIZE) store<i32>(Step.pointer(step, Step.P1), rows, Job.M)
    }
  }
  if (load<i32>(program, THREADS) < 2) return
  store<usize>(control, program, PROGRAM)
  atomic.store<i32>(control, 0, DONE)
  open(control, program, 0)
}

/** All phases on one thread. */
export function runAlone(program: usize): void {
  const phases = load<i32>(program, PHASES)
  for (let i = 0; i < phases; i++) {
    const phase = load<usize>(program, PHASE_TABLE) + (<usize>i << 4)
    if (rowsOf(program, phase) > 0) runPiece(program, phase, 0, 1, load<usize>(program, SCRATCH))
  }
}

/**
 * Takes pieces as thread `index` until the run is over. A piece is claimed by adding to the ticket, which says what phase it
 * belongs to and whether there was one left: so a thread that was away for long cannot take a piece twice, and a phase
 * stays until all its pieces are done. Whoever finishes the last one opens the next phase.
 */
export function runShare(control: usize, index: i32): void {
  while (true) {
    const seen = atomic.load<i64>(control, TICKET)
    if (seen >= CLOSED || atomic.load<i32>(control, TRAPPED)) return
    if ((seen & 0xffff) >= ((seen >> 16) & 0xffff)) continue
    const ticket = atomic.add<i64>(control, 1, TICKET)
    const piece = <i32>(ticket & 0xffff), pieces = <i32>((ticket >> 16) & 0xffff)
    if (piece >= pieces || ticket >= CLOSED) continue
    const program = load<usize>(control, PROGRAM), number = <i32>(ticket >> 32)
    runPiece(program, load<usize>(program, PHASE_TABLE) + (<usize>number << 4), piece, pieces, load<usize>(program, SCRATCH) + <usize>index * load<usize>(program, SCRATCH_STRIDE))
    if (atomic.add<i32>(control, 1, DONE) + 1 == pieces) {
      atomic.store<i32>(control, 0, DONE)
      open(control, program, number + 1)
    }
  }
}

/** Opens the first phase from `number` on that has something to do, or closes the run. */
function open(control: usize, program: usize, number: i32): void {
  const phases = load<i32>(program, PHASES), threads = load<i32>(program, THREADS)
  for (; number < phases; number++) {
    const pieces = piecesOf(program, load<usize>(program, PHASE_TABLE) + (<usize>number << 4), threads)
    if (pieces > 0) {
      atomic.store<i64>(control, (<i64>number << 32) | (<i64>pieces << 16), TICKET)
      return
    }
  }
  atomic.store<i64>(control, CLOSED, TICKET)
}

// @ts-ignore: decorator
@inline function rowsOf(program: usize, phase: usize): i32 {
  return load<i32>(phase, 12) ? load<i32>(program, WANTED) : load<i32>(program, ROWS)
}

function piecesOf(program: usize, phase: usize, threads: i32): i32 {
  const rows = rowsOf(program, phase), kind = load<i32>(phase), most = threads * PIECES
  if (rows == 0) return 0
  if (kind == BY_ROW) return min(rows, most)
  const step = load<usize>(phase, 4)
  if (kind == ATTENTION) return min(attentionItems(step, rows, threads), most)
  return max(1, min(blocksOf(phase) / LEAST_BLOCKS, most))
}

/** Blocks of all products of a phase. */
function blocksOf(phase: usize): i32 {
  let blocks = 0
  for (let n = load<i32>(phase, 8), step = load<usize>(phase, 4); n > 0; n--, step += Step.BYTES) blocks += Step.word(step, Step.N1)
  return blocks
}

function runPiece(program: usize, phase: usize, piece: i32, pieces: i32, scratch: usize): void {
  const rows = rowsOf(program, phase), kind = load<i32>(phase), count = load<i32>(phase, 8)
  let step = load<usize>(phase, 4)
  if (kind == BY_ROW) {
    const from = rows * piece / pieces, to = rows * (piece + 1) / pieces
    for (let i = 0; i < count; i++, step += Step.BYTES) {
      const bad = runRows(step, load<i32>(program, START), load<i32>(program, ROWS) - load<i32>(program, WANTED), load<usize>(program, TOKENS), from, to, scratch)
      if (bad) fail(program, Step.word(step, Step.STEP), bad)
    }
  } else if (kind == ATTENTION) {
    const threads = load<i32>(program, THREADS), items = attentionItems(step, rows, threads)
    attend(step, load<i32>(program, START), rows, threads, items * piece / pieces, items * (piece + 1) / pieces, scratch)
  } else {
    const blocks = blocksOf(phase), from = <i32>(<i64>blocks * piece / pieces), to = <i32>(<i64>blocks * (piece + 1) / pieces)
    let first = 0
    for (let i = 0; i < count; i++, step += Step.BYTES) {
      const own = Step.word(step, Step.N1), a = max(0, from - first), b = min(own, to - first)
      first += own
      if (a >= b) continue
      if (Step.word(step, Step.N2)) multiplyByFloats(Step.pointer(step, Step.P1), a, b, scratch)
      else multiply(Step.pointer(step, Step.P1), a, b, scratch)
    }
  }
}

/** Keeps the failure of the earliest step. */
function fail(program: usize, step: i32, row: i32): void {
  const before = load<i32>(program, FAILED)
  if (before != 0 && before <= step + 1) return
  store<i32>(program, row, FAILED_ROW)
  store<i32>(program, step + 1, FAILED)
}
