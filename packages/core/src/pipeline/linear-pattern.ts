import { LowbitError } from '../errors.js'

/** States that an expression may have; `{100}` of a long group multiplies. */
const MAX_STATES = 4096
/** Groups inside groups. */
const MAX_DEPTH = 64
/** Largest number in `{…}`. */
const MAX_REPEAT = 1000

/** One character: tells whether a UTF-16 code unit is meant. */
type CharTest = (code: number) => boolean

type State =
  | { readonly kind: 'char'; readonly test: CharTest; next: number }
  | { readonly kind: 'split'; next: number; other: number }
  | { readonly kind: 'assert'; readonly test: (text: string, at: number) => boolean; next: number }
  | { readonly kind: 'match' }

/** A piece of the machine: where it begins, and the ends that lead to what follows. */
interface Piece {
  readonly start: number
  readonly ends: readonly ((target: number) => void)[]
}

/**
 * A regular expression that is matched in time proportional to its size times the text's, whatever it is: all ways are followed at
 * once (Thompson 1968), none is tried again. JavaScript's own engine takes exponential time for some expressions.
 *
 * Literals, `.`, classes, `\d \w \s \b` and their opposites, groups, `|`, `* + ?` and `{m,n}` (lazy ones too: what matches is the
 * same), `^` and `$`. Look-around and back-references need another kind of machine and are refused.
 * @returns a test for a match anywhere in a text, as `RegExp.test`
 * @throws LOWBIT_ARGUMENT
 */
export function linearPattern(source: string): (text: string) => boolean {
  return run(new Parser(source).parse())
}

function run({ states, start }: { readonly states: readonly State[]; readonly start: number }): (text: string) => boolean {
  return (text) => {
    const seen = new Int32Array(states.length).fill(-1)
    let active: number[] = []
    for (let at = 0; ; at++) {
      // Every place may be the beginning of a match.
      if (follow(states, start, text, at, seen, active)) return true
      if (at >= text.length) return false
      const code = text.charCodeAt(at)
      const before = active
      active = []
      for (const i of before) {
        const state = states[i]
        if (state.kind === 'char' && state.test(code) && follow(states, state.next, text, at + 1, seen, active)) return true
      }
    }
  }
}

/** Adds what can be reached from a state without a character. @returns true if that is the end of a match */
function follow(states: readonly State[], from: number, text: string, at: number, seen: Int32Array, active: number[]): boolean {
  const stack = [from]
  for (let i = stack.pop(); i !== undefined; i = stack.pop()) {
    if (seen[i] === at) continue
    seen[i] = at
    const state = states[i]
    if (state.kind === 'match') return true
    if (state.kind === 'char') active.push(i)
    else if (state.kind === 'split') stack.push(state.other, state.next)
    else if (state.test(text, at)) stack.push(state.next)
  }
  return false
}

class Parser {
  readonly #states: State[] = []
  readonly #source: string
  #at = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
  }

  parse(): { readonly states: readonly State[]; readonly start: number } {
    const piece = this.#alternatives()
    if (this.#at < this.#source.length) this.#fail('a bracket that nothing opened')
    const end = this.#add({ kind: 'match' })
    for (const join of piece.ends) join(end)
    return { states: this.#states, start: piece.start }
  }

  #alternatives(): Piece {
    if (++this.#depth > MAX_DEPTH) this.#fail(`groups more than ${MAX_DEPTH} deep`)
    let piece = this.#sequence()
    while (this.#take('|')) {
      const other = this.#sequence()
      const start = this.#add({ kind: 'split', next: piece.start, other: other.start })
      piece = { start, ends: [...piece.ends, ...other.ends] }
    }
    this.#depth--
    return piece
  }

  #sequence(): Piece {
    let piece = this.#nothing()
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at])) {
      const from = this.#at
      const item = this.#atom()
      piece = this.#chain(piece, this.#repeated(item, from))
    }
    return piece
  }

  #repeated(piece: Piece, from: number): Piece {
    const until = this.#at
    const range = this.#quantifier()
    if (range === undefined) return piece
    if (until === from || this.#isAssertion(from, until)) this.#fail('nothing to repeat')
    const after = this.#at
    const [least, most] = range
    // The piece is read again for each copy: states belong to one place.
    const copy = (): Piece => {
      this.#at = from
      return this.#atom()
    }
    let out: Piece | undefined
    const append = (next: Piece): void => {
      out = out === undefined ? next : this.#chain(out, next)
    }
    for (let i = 0; i < least; i++) append(i === 0 ? piece : copy())
    if (most === Infinity) append(this.#star(least === 0 ? piece : copy()))
    else for (let i = least; i < most; i++) append(this.#optional(i === 0 ? piece : copy()))
    this.#at = after
    return out ?? this.#nothing()
  }

  #isAssertion(from: number, until: number): boolean {
    const text = this.#source.slice(from, until)
    return text === '^' || text === '$' || text === '\\b' || text === '\\B'
  }

  #quantifier(): readonly [number, number] | undefined {
    const range = this.#range()
    if (range !== undefined) this.#take('?')
    return range
  }

  #range(): readonly [number, number] | undefined {
    if (this.#take('*')) return [0, Infinity]
    if (this.#take('+')) return [1, Infinity]
    if (this.#take('?')) return [0, 1]
    const match = /^\{(\d+)(?:(,)(\d*))?\}/.exec(this.#source.slice(this.#at, this.#at + 40))
    if (match === null) return undefined
    this.#at += match[0].length
    const least = Number(match[1])
    const most = match[2] === undefined ? least : match[3] === '' ? Infinity : Number(match[3])
    if (least > MAX_REPEAT || (most > MAX_REPEAT && most !== Infinity)) this.#fail(`more than ${MAX_REPEAT} repetitions`)
    if (most < least) this.#fail('numbers out of order')
    return [least, most]
  }

  #atom(): Piece {
    const c = this.#source[this.#at++]
    if (c === '(') return this.#group()
    if (c === '[') return this.#char(this.#class())
    if (c === '.') return this.#char((code) => !isLineEnd(code))
    if (c === '^') return this.#assert((_, at) => at === 0)
    if (c === '$') return this.#assert((text, at) => at === text.length)
    if (c === '\\') return this.#escaped()
    if (c === '*' || c === '+' || c === '?') this.#fail('nothing to repeat')
    if (c === '{' && /^\d+(,\d*)?\}/.test(this.#source.slice(this.#at, this.#at + 40))) this.#fail('nothing to repeat')
    return this.#char(is(c.charCodeAt(0)))
  }

  #group(): Piece {
    if (this.#take('?')) {
      if (!this.#take(':')) {
        if (!/^<[A-Za-z_$][\w$]*>/.test(this.#source.slice(this.#at, this.#at + 80))) this.#fail('look-around, which needs a search that can take forever')
        this.#at = this.#source.indexOf('>', this.#at) + 1
      }
    }
    const piece = this.#alternatives()
    if (!this.#take(')')) this.#fail('a group without an end')
    return piece
  }

  #escaped(): Piece {
    const next = this.#source[this.#at]
    if (next === 'b' || next === 'B') {
      this.#at++
      return this.#assert((text, at) => isEdge(text, at) === (next === 'b'))
    }
    if (next !== undefined && (/[1-9]/.test(next) || next === 'k')) this.#fail('a back-reference, which needs a search that can take forever')
    return this.#char(this.#escape())
  }

  /** What stands after a backslash. */
  #escape(): CharTest {
    const c = this.#source[this.#at++]
    if (c === undefined) return this.#fail('a backslash at the end')
    const set = SETS.get(c.toLowerCase())
    if (set !== undefined) return c === c.toLowerCase() ? set : (code) => !set(code)
    return is(this.#escapedCode(c))
  }

  #escapedCode(c: string): number {
    const control = CONTROLS.get(c)
    if (control !== undefined) return control
    const digits = c === 'x' ? 2 : c === 'u' ? 4 : 0
    const hex = this.#source.slice(this.#at, this.#at + digits)
    if (digits > 0 && hex.length === digits && /^[0-9a-f]+$/i.test(hex)) {
      this.#at += digits
      return Number.parseInt(hex, 16)
    }
    if (/[a-zA-Z]/.test(c) && digits === 0) this.#fail(`\\${c}`)
    return c.charCodeAt(0)
  }

  #class(): CharTest {
    const inverted = this.#take('^')
    const tests: CharTest[] = []
    while (!this.#take(']')) {
      if (this.#at >= this.#source.length) this.#fail('a class without an end')
      const low = this.#classItem()
      const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']' && this.#at + 1 < this.#source.length
      if (typeof low !== 'number' || !isRange) {
        tests.push(typeof low === 'number' ? is(low) : low)
        continue
      }
      this.#at++
      const high = this.#classItem()
      if (typeof high !== 'number' || high < low) this.#fail('a range out of order')
      else tests.push((code) => code >= low && code <= high)
    }
    return (code) => tests.some((test) => test(code)) !== inverted
  }

  #classItem(): number | CharTest {
    const c = this.#source[this.#at++]
    if (c === undefined) return this.#fail('a class without an end')
    if (c !== '\\') return c.charCodeAt(0)
    const next = this.#source[this.#at]
    if (next === 'b') {
      this.#at++
      return 8
    }
    if (next !== undefined && SETS.has(next.toLowerCase())) return this.#escape()
    this.#at++
    return next === undefined ? this.#fail('a backslash at the end') : this.#escapedCode(next)
  }

  #take(c: string): boolean {
    if (this.#source[this.#at] !== c) return false
    this.#at++
    return true
  }

  #add(state: State): number {
    if (this.#states.length >= MAX_STATES) this.#fail(`more than ${MAX_STATES} steps`)
    return this.#states.push(state) - 1
  }

  #char(test: CharTest): Piece {
    const state = { kind: 'char' as const, test, next: -1 }
    return { start: this.#add(state), ends: [(target) => (state.next = target)] }
  }

  #assert(test: (text: string, at: number) => boolean): Piece {
    const state = { kind: 'assert' as const, test, next: -1 }
    return { start: this.#add(state), ends: [(target) => (state.next = target)] }
  }

  #nothing(): Piece {
    return this.#assert(() => true)
  }

  #chain(first: Piece, second: Piece): Piece {
    for (const join of first.ends) join(second.start)
    return { start: first.start, ends: second.ends }
  }

  #optional(piece: Piece): Piece {
    const state = { kind: 'split' as const, next: piece.start, other: -1 }
    return { start: this.#add(state), ends: [...piece.ends, (target) => (state.other = target)] }
  }

  #star(piece: Piece): Piece {
    const state = { kind: 'split' as const, next: piece.start, other: -1 }
    const start = this.#add(state)
    for (const join of piece.ends) join(start)
    return { start, ends: [(target) => (state.other = target)] }
  }

  #fail(found: string): never {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `pattern /${this.#source.length > 80 ? `${this.#source.slice(0, 77)}…` : this.#source}/`, found, expected: 'a regular expression without look-around and back-references', fix: 'or write a name with * and ?' })
  }
}

const is = (code: number): CharTest => (other) => other === code
const isLineEnd = (code: number): boolean => code === 10 || code === 13 || code === 0x2028 || code === 0x2029
const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isWord = (code: number): boolean => isDigit(code) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95
const isSpace = (code: number): boolean => /\s/.test(String.fromCharCode(code))
const isEdge = (text: string, at: number): boolean => (at > 0 && isWord(text.charCodeAt(at - 1))) !== (at < text.length && isWord(text.charCodeAt(at)))

const SETS: ReadonlyMap<string, CharTest> = new Map([['d', isDigit], ['w', isWord], ['s', isSpace]])
const CONTROLS: ReadonlyMap<string, number> = new Map([['n', 10], ['r', 13], ['t', 9], ['v', 11], ['f', 12], ['0', 0]])
