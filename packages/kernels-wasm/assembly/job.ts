/**
 * A job is a row of 32-bit words in memory, written by the host (`src/job.ts` has the same words in the same order) and
 * read by every thread. One export takes it, so the protocol between threads does not grow with the number of kernels.
 */
/** How codes are stored: {@link Q2} and what follows it. */
export const KIND: usize = 0
/** Rows of activations; their buffers are padded to a multiple of four rows. */
export const M: usize = 4
/** Quantization groups along K. */
export const GROUPS: usize = 8
/** Codes in a group with padding: a multiple of SUB. */
export const GROUP: usize = 12
/** Codes in a group without padding. */
export const GROUP_USED: usize = 16
/** Codes that are summed in 16 bits before they are widened: a multiple of 16. */
export const SUB: usize = 20
/** K, without padding. */
export const COLUMNS: usize = 24
/** Packed codes, one block of eight rows after another. */
export const CODES: usize = 28
/** Bytes of one block of codes. */
export const BLOCK_BYTES: usize = 32
/** Scales, f32 `[blocks, groups, 8]`. */
export const SCALES: usize = 36
/** What is added to `code − OFFSET` before scaling, f32 as the scales; 0 if nothing is. */
export const ZEROS: usize = 40
/** The number that was added to codes to store them: 8 for int4 kept as 0..15. */
export const OFFSET: usize = 44
/** Activations as floats, `[M, K]`. */
export const X: usize = 48
export const X_STRIDE: usize = 52
/** Activations as codes, `[M, groups × group]`. */
export const ACT: usize = 56
export const ACT_STRIDE: usize = 60
/** −OFFSET · (sum of activation codes): 16-bit pairs for each SUB, or 32 bits for each group. Sums start there. */
export const INIT: usize = 64
export const INIT_STRIDE: usize = 68
/** For each row and group of activations their scale and the sum of their codes, f32 `[M, groups, 2]`; where there are minima the sum is scaled. */
export const ENDS: usize = 72
/** 1 if each group of a row of activations has a scale of its own; 0 if a row has one. */
export const ACT_GROUPS: usize = 76
/** Bias, f32 padded to the blocks; 0 for none. */
export const BIAS: usize = 80
/** Output, f32 `[M, OUT_STRIDE / 4]`. */
export const OUT: usize = 84
export const OUT_STRIDE: usize = 88
/** Where Strassen's sums of the activations stand, `7 × [M / 2, K / 2]` of 16 bits with M rounded up to eight; 0 for another product. */
export const SPLIT: usize = 92

/** 1 if ZEROS are minima: `value = (code − OFFSET) · scale + minimum`. */
export const MINIMA: usize = 96

export const Q2: i32 = 2
export const Q4: i32 = 4
/** The same layouts where the four-way dot product is one instruction: sums in 32 bits from the start. */
export const Q2_DOT: i32 = 3
export const Q4_DOT: i32 = 5
/** And where its second operand is unsigned: fields are multiplied where they stand, without a shift. */
export const Q4_UNSIGNED: i32 = 6
export const Q2_UNSIGNED: i32 = 7
export const Q8: i32 = 8
/** Bytes for a four-way dot product that is exact on them: unsigned (code + 128) or signed. See `dot.ts`. */
export const Q8_UNSIGNED: i32 = 9
export const Q8_SIGNED: i32 = 10
/** Floats, `[K][8 rows]`. */
export const F16: i32 = 16
export const BF16: i32 = 17
export const F32: i32 = 32

// @ts-ignore: decorator
@inline export function word(job: usize, at: usize): i32 {
  return load<i32>(job + at)
}
// @ts-ignore: decorator
@inline export function pointer(job: usize, at: usize): usize {
  return <usize>load<u32>(job + at)
}

// @ts-ignore: decorator
@inline export function isQ4(kind: i32): bool {
  return kind == Q4 || kind == Q4_DOT || kind == Q4_UNSIGNED
}
// @ts-ignore: decorator
@inline export function isQ2(kind: i32): bool {
  return kind == Q2 || kind == Q2_DOT || kind == Q2_UNSIGNED
}
