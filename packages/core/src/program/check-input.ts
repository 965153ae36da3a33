import type { Program, ProgramInput } from '../contract/v2/programs.js'
import { LowbitError } from '../errors.js'

/** A run that has passed the checks. */
export interface CheckedInput {
  readonly rows: number
  readonly wanted: number
  readonly start: number
  readonly tokens: ArrayLike<number> | undefined
}

/**
 * What a run may be given: checked before anything is written, so that a refused run changes nothing.
 * @throws LOWBIT_ARGUMENT, LOWBIT_SHAPE, LOWBIT_LIMIT past the context or the declared rows, LOWBIT_DATA for a token without a row
 */
export function checkProgramInput(program: Program, input: ProgramInput): CheckedInput {
  const { tokens, start, wanted = 1 } = input
  const rows = input.rows ?? tokens?.length
  if (rows === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'run', found: 'neither tokens nor rows', expected: 'one of them' })
  whole(rows, 1, 'rows')
  whole(start, 0, 'start')
  whole(wanted, 0, 'wanted')
  if (tokens !== undefined && tokens.length !== rows) throw new LowbitError('LOWBIT_SHAPE', { thing: 'tokens', found: `${tokens.length}`, expected: `${rows}, one a row` })
  if (rows > program.rows) throw new LowbitError('LOWBIT_LIMIT', { thing: 'rows', found: `${rows}`, expected: `at most ${program.rows}, as the program declares`, fix: 'run a long prompt in pieces' })
  if (wanted > Math.min(rows, program.wanted)) throw new LowbitError('LOWBIT_LIMIT', { thing: 'wanted rows', found: `${wanted} of ${rows}`, expected: `at most ${Math.min(rows, program.wanted)}` })
  if (start + rows > program.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'context', found: `positions up to ${start + rows - 1}`, expected: `below ${program.context}`, fix: 'drop the oldest tokens, or make the program with a longer context' })
  for (const step of program.steps) {
    if (step.op !== 'embed') continue
    if (tokens === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'run', found: 'no tokens', expected: `tokens, which are looked up in ${step.matrix}` })
    const top = program.matrices[step.matrix]?.rows ?? 0
    for (let i = 0; i < rows; i++) {
      const token = tokens[i]
      if (token === undefined || !Number.isInteger(token) || token < 0 || token >= top) throw new LowbitError('LOWBIT_DATA', { thing: `token ${i}`, found: String(token), expected: `0 to ${top - 1}: ${step.matrix} has ${top} rows` })
    }
  }
  for (const [name, values] of Object.entries(input.buffers ?? {})) {
    const buffer = Object.hasOwn(program.buffers, name) ? program.buffers[name] : undefined
    if (buffer === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'run', found: `buffer ${name} is not declared`, expected: Object.keys(program.buffers).slice(0, 20).join(', ') })
    const count = (buffer.rows === 'wanted' ? wanted : rows) * buffer.width
    if (values.length !== count) throw new LowbitError('LOWBIT_SHAPE', { thing: `buffer ${name}`, found: `${values.length} floats`, expected: `${count}` })
  }
  return { rows, wanted, start, tokens }
}

function whole(value: number, least: number, thing: string): void {
  if (!Number.isSafeInteger(value) || value < least) throw new LowbitError('LOWBIT_ARGUMENT', { thing, found: String(value), expected: `a whole number of at least ${least}` })
}
