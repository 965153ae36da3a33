/** Turns the bytes of each element of `width` bytes around, in place. */
export function swapBytes(bytes: Uint8Array, width: number): void {
  if (width === 1) return
  for (let at = 0; at + width <= bytes.length; at += width) bytes.subarray(at, at + width).reverse()
}

/** Swaps the 16-bit numbers of blocks, in place. */
export function swapHalves(bytes: Uint8Array, blockBytes: number, offsets: readonly number[]): void {
  for (let at = 0; at + blockBytes <= bytes.length; at += blockBytes) {
    for (const offset of offsets) bytes.subarray(at + offset, at + offset + 2).reverse()
  }
}
