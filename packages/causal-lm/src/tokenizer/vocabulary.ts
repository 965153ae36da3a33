import { LowbitError } from '@lowbit/core'

/** What a token is, by its number in GGUF (and sentencepiece). */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const

/** The pieces of a tokenizer with what is special about each. */
export class Vocabulary {
  readonly #spellings: readonly string[]
  readonly #types: ArrayLike<number>
  readonly #ids = new Map<string, number>()

  /** @param types One a piece; empty: all normal. @throws LOWBIT_FORMAT if the numbers differ. */
  constructor(spellings: readonly string[], types: ArrayLike<number>, thing: string) {
    if (types.length !== 0 && types.length !== spellings.length) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `${types.length} types for ${spellings.length} tokens`, expected: 'one a token' })
    this.#spellings = spellings
    this.#types = types
    spellings.forEach((spelling, id) => {
      if (!this.#ids.has(spelling)) this.#ids.set(spelling, id)
    })
  }

  get size(): number {
    return this.#spellings.length
  }

  spelling(id: number): string | undefined {
    return this.#spellings[id]
  }

  /** @throws LOWBIT_ARGUMENT for an id that is not there. */
  expect(id: number): string {
    const spelling = this.#spellings[id]
    if (spelling === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'token id', found: String(id), expected: `a whole number below ${this.size}` })
    return spelling
  }

  idOf(spelling: string): number | undefined {
    return this.#ids.get(spelling)
  }

  type(id: number): number {
    return this.#types[id] ?? TOKEN_TYPE.normal
  }

  /** Control and unknown pieces: part of no text. */
  isSpecial(id: number): boolean {
    const type = this.type(id)
    return type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown
  }

  /** Pieces of some types with their ids. */
  *ofType(...types: readonly number[]): Generator<readonly [string, number]> {
    for (let id = 0; id < this.size; id++) if (types.includes(this.type(id))) yield [this.#spellings[id] as string, id]
  }
}

/** An id that metadata names, checked. */
export function checkId(id: number | undefined, size: number, thing: string): number | undefined {
  if (id === undefined) return undefined
  if (!Number.isInteger(id) || id < 0 || id >= size) throw new LowbitError('LOWBIT_FORMAT', { thing, found: String(id), expected: `the id of a token, below ${size}` })
  return id
}

/** Spellings that end a turn in the templates in use; a file often names only one of its own. */
const TURN_ENDS = ['<|endoftext|>', '<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<|end_of_text|>', '<|end|>', '<end_of_turn>', '<EOT>', '</s>', '<eos>'] as const

/** Tokens that end a generation: those named, and control tokens that are spelled as an end of turn. */
export function endTokens(vocabulary: Vocabulary, named: readonly (number | undefined)[]): number[] {
  const ends = new Set(named.filter((id) => id !== undefined))
  for (const spelling of TURN_ENDS) {
    const id = vocabulary.idOf(spelling)
    if (id !== undefined && vocabulary.type(id) === TOKEN_TYPE.control) ends.add(id)
  }
  return [...ends].sort((a, b) => a - b)
}
