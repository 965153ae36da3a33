/**
 * A step of a program is a row of 32-bit words in memory, written by the host (`src/program/steps.ts` has the same words in
 * the same order). What a word means depends on the step: see `rows.ts`, `attention.ts` and `program.ts`.
 */
export const OP: usize = 0
/** Buffers that are read, and the one that is written: address of the first row, bytes from row to row. */
export const A: usize = 4
export const A_STRIDE: usize = 8
export const B: usize = 12
export const B_STRIDE: usize = 16
export const TO: usize = 20
export const TO_STRIDE: usize = 24
/** Floats of a row. */
export const WIDTH: usize = 28
/** Two whole numbers, a float, and addresses of vectors, jobs and caches. */
export const N1: usize = 32
export const N2: usize = 36
export const F1: usize = 40
export const F2: usize = 44
export const P1: usize = 48
export const P2: usize = 52
/** The step of the program that this one belongs to, for errors. */
export const STEP: usize = 56
/** Bytes of a step. */
export const BYTES: usize = 64

export const EMBED: i32 = 1
export const NORM: i32 = 2
export const QUANTIZE: i32 = 3
export const ROPE: i32 = 4
export const APPEND: i32 = 5
export const GATE: i32 = 6
export const ADD: i32 = 7
export const SCALE: i32 = 8
export const SOFTCAP: i32 = 9
export const COPY: i32 = 10
export const SELECT: i32 = 11
export const LINEAR: i32 = 12
export const ATTENTION: i32 = 13

// @ts-ignore: decorator
@inline export function word(step: usize, at: usize): i32 {
  return load<i32>(step + at)
}
// @ts-ignore: decorator
@inline export function pointer(step: usize, at: usize): usize {
  return <usize>load<u32>(step + at)
}
