/** Chance that is the same for the same seed and mutant, whatever was drawn for others. */
export class Dice {
  #state: number

  constructor(seed: number, mutant: number) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(mutant + 1, 0xc2b2ae35)) >>> 0
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }
}

/** Numbers that programs stumble over. */
export const NUMBERS: readonly number[] = [0, 1, -1, 2, 3, 7, 16, 32, 127, 128, 255, 256, 4095, 65535, 65536, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 40, 2 ** 53, -(2 ** 53)]

/** The same as 64-bit integers, with the ends of their range. */
export const BIGINTS: readonly bigint[] = [...NUMBERS.map((n) => BigInt(n)), 2n ** 62n, 2n ** 63n - 1n, -(2n ** 63n)]

export const FLOATS: readonly number[] = [0, -0, 1, -1, 0.5, 1e-45, 1e-38, 1e38, 3.4e38, -3.4e38, NaN, Infinity, -Infinity]

/** Names of members that every object has, and others that are not what a name is. */
export const NAMES: readonly string[] = ['', 'toString', 'constructor', '__proto__', 'hasOwnProperty', 'valueOf', 'x', 'y', 'w', ' ', '\0', 'a/b', '../../etc', 'é😀', 'n'.repeat(300)]
