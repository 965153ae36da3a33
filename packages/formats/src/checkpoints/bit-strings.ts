/** A matrix of 32-bit words in which codes lie one after the other, low bits first, across words, along one axis. */
export interface BitStrings {
  readonly words: Int32Array
  /** Words from one word of a string to its next: 1 where strings are rows. */
  readonly step: number
}

/** Code `index` of the string that starts at word `start`. */
export function readCode({ words, step }: BitStrings, start: number, index: number, bits: number): number {
  const at = index * bits
  const word = start + (at >> 5) * step
  const shift = at & 31
  let value = (words[word] as number) >>> shift
  if (shift + bits > 32) value |= (words[word + step] as number) << (32 - shift)
  return value & (2 ** bits - 1)
}

/** Sets a code in words that are still zero there. */
export function writeCode({ words, step }: BitStrings, start: number, index: number, bits: number, code: number): void {
  const at = index * bits
  const word = start + (at >> 5) * step
  const shift = at & 31
  words[word] = (words[word] as number) | (code << shift)
  if (shift + bits > 32) words[word + step] = (words[word + step] as number) | (code >>> (32 - shift))
}

/** Words that `count` codes take. */
export const wordsFor = (count: number, bits: number): number => Math.ceil((count * bits) / 32)
