import type { Dice } from './dice.js'

/** What became of a mutant, when nothing is wrong with lowbit. */
export interface Passed {
  /** False where the parser refused it. */
  readonly parsed: boolean
  /** How far it came, or the code it was refused with. */
  readonly end: string
}

/** A reader or pipeline that is fuzzed. */
export interface Target {
  readonly name: string
  /** How often it is chosen. */
  readonly weight: number
  /** The ending of inputs that are kept. */
  readonly extension: string
  /** A mutant, and the same for the same dice. */
  make(dice: Dice): Uint8Array<ArrayBuffer>
  /**
   * Everything that lowbit does with it.
   * @throws what lowbit throws, beyond the parser
   */
  run(bytes: Uint8Array<ArrayBuffer>, dice: Dice, at: (phase: string) => void): Promise<string>
}

/** Says that a mutant broke a promise that no error tells of. */
export class Broken extends Error {
  readonly kind: string

  constructor(kind: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
  }
}
