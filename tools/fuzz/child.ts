import { readFileSync, writeFileSync } from 'node:fs'
import { isLowbitError } from '@lowbit/core'
import { Coverage } from './coverage.js'
import { Dice } from './dice.js'
import { onnxTarget } from './onnx-target.js'
import { readerTargets } from './reader-targets.js'
import { Broken, type Target } from './target.js'

/**
 * Runs mutants one after the other in a process of its own, which may hang or die: `child.ts seed first only`. The parent hears of each
 * before it begins.
 */
export type FromChild =
  | { readonly kind: 'ready' }
  | { readonly kind: 'begin'; readonly mutant: number; readonly target: string }
  | { readonly kind: 'phase'; readonly phase: string }
  | { readonly kind: 'end'; readonly mutant: number; readonly target: string; readonly parsed: boolean; readonly end: string; readonly peak: number; readonly broken?: { readonly kind: string; readonly message: string } }
  | { readonly kind: 'coverage'; readonly reached: readonly string[]; readonly known: readonly string[] }

/** Mutants between two looks at the branches. */
const COVERAGE_EVERY = 200

const [seed = '1', first = '0', only = ''] = process.argv.slice(2)
const targets = [onnxTarget(), ...readerTargets()].filter((t) => only === '' || t.name === only)
const say = (message: FromChild): void => void process.send?.(message)

/** The mutant of an index, and the target it is for. */
export function mutantOf(all: readonly Target[], index: number): { readonly target: Target; readonly bytes: Uint8Array<ArrayBuffer>; readonly dice: Dice } {
  const dice = new Dice(Number(seed), index)
  let at = dice.next() * all.reduce((sum, t) => sum + t.weight, 0)
  const target = all.find((t) => (at -= t.weight) < 0) ?? all[0]
  return { target, bytes: target.make(dice), dice }
}

/** Forgets the highest amount of memory so far, where the system can. */
function forgetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // Elsewhere the peak is that of all mutants so far.
  }
}

function peak(): number {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0)
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

const coverage = new Coverage()
await coverage.start()
say({ kind: 'ready' })
for (let index = Number(first); ; index++) {
  const { target, bytes, dice } = mutantOf(targets, index)
  say({ kind: 'begin', mutant: index, target: target.name })
  forgetPeak()
  let phase = 'make'
  let end = ''
  let broken: { kind: string; message: string } | undefined
  try {
    end = await target.run(bytes, dice, (now) => {
      phase = now
      say({ kind: 'phase', phase })
    })
  } catch (error) {
    if (error instanceof Broken) broken = { kind: error.kind, message: error.message }
    else if (!isLowbitError(error)) broken = { kind: 'foreign', message: `${phase}: ${error instanceof Error ? error.stack ?? error.message : String(error)}` }
    else if (error.code === 'LOWBIT_INTERNAL') broken = { kind: 'internal', message: `${phase}: ${error.stack ?? error.message}` }
    end = isLowbitError(error) ? error.code : 'error'
  }
  say({ kind: 'end', mutant: index, target: target.name, parsed: phase !== 'parse' && phase !== 'make', end, peak: peak(), ...(broken === undefined ? {} : { broken }) })
  if (index % COVERAGE_EVERY === COVERAGE_EVERY - 1) say({ kind: 'coverage', ...(await coverage.take()) })
  // Messages go out, and what was left behind by the mutant comes to its end.
  await new Promise((resolve) => setImmediate(resolve))
}
