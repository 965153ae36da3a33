import { type Dice, NUMBERS } from './dice.js'

/** Bytes changed without knowing what they mean: flips, numbers, cuts, and pieces that stand twice. */
export function mutateBytes(bytes: Uint8Array, dice: Dice, times = 1 + dice.below(4)): Uint8Array<ArrayBuffer> {
  let out = new Uint8Array(bytes)
  for (let i = 0; i < times && out.length > 0; i++) {
    // Headers hold what matters, and stand in front.
    const at = dice.chance(0.6) ? dice.below(Math.min(out.length, 512)) : dice.below(out.length)
    switch (dice.below(6)) {
      case 0: out[at] ^= 1 << dice.below(8); break
      case 1: out[at] = dice.below(256); break
      case 2: writeNumber(out, at, dice); break
      case 3: out = out.slice(0, at); break
      case 4: out = joined(out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + dice.below(16)))); break
      default: out = joined(out.subarray(0, at), out.subarray(at, Math.min(out.length, at + 1 + dice.below(64))), out.subarray(at))
    }
  }
  return out
}

/** Puts a number in the place of what stands somewhere, in four or eight bytes. */
export function writeNumber(out: Uint8Array<ArrayBuffer>, at: number, dice: Dice): void {
  const view = new DataView(new ArrayBuffer(8))
  view.setBigInt64(0, BigInt.asIntN(64, BigInt(dice.pick(NUMBERS))), true)
  const length = Math.min(dice.pick([1, 2, 4, 8]), out.length - at)
  out.set(new Uint8Array(view.buffer, 0, length), at)
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
