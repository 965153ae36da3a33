/**
 * Vector constants that kernels load from memory. As literals V8 would rebuild them inside the loop
 * (a move or two instructions each time); a loaded value stays in a register.
 */
const TABLE: usize = memory.data<u8>([
  15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
  15, 0, 15, 0, 15, 0, 15, 0, 15, 0, 15, 0, 15, 0, 15, 0,
  1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0,
  4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0,
  3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
  12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12,
  3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0,
  240, 240, 240, 240, 240, 240, 240, 240, 240, 240, 240, 240, 240, 240, 240, 240,
  48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48,
  192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192, 192,
], 16)

// @ts-ignore: decorator
@inline export function nibbleMask(): v128 { return v128.load(TABLE) }
// @ts-ignore: decorator
@inline export function nibbleMask16(): v128 { return v128.load(TABLE, 16) }
// @ts-ignore: decorator
@inline export function ones16(): v128 { return v128.load(TABLE, 32) }
// @ts-ignore: decorator
@inline export function fours16(): v128 { return v128.load(TABLE, 48) }
// @ts-ignore: decorator
@inline export function lowPairMask(): v128 { return v128.load(TABLE, 64) }
// @ts-ignore: decorator
@inline export function highPairMask(): v128 { return v128.load(TABLE, 80) }
// @ts-ignore: decorator
@inline export function pairMask16(): v128 { return v128.load(TABLE, 96) }
// @ts-ignore: decorator
@inline export function highNibbleMask(): v128 { return v128.load(TABLE, 112) }
// @ts-ignore: decorator
@inline export function thirdPairMask(): v128 { return v128.load(TABLE, 128) }
// @ts-ignore: decorator
@inline export function fourthPairMask(): v128 { return v128.load(TABLE, 144) }
