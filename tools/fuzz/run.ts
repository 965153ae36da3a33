import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { FromChild } from './child.js'

/**
 * `npm run fuzz -- minutes [--seed 1] [--only onnx] [--fresh] [--mutant N] [--folder .cache/fuzz]`: damaged, unusual and hostile files
 * through everything that reads them: ONNX through parse, open, quantize and run; GGUF, safetensors, tokenizer.json, configurations
 * and chat templates. What lowbit may do is refuse with an error of its own. What it may not: fail inside (LOWBIT_INTERNAL, or an
 * error that is none of its own), work for more than 5 s, take more than twice the memory, write a model that does not run though the
 * one it was made of does. Inputs that did are kept in the folder. A seed and a number are the same mutant everywhere; a second run
 * goes on where the first stopped.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '1' }, only: { type: 'string', default: '' }, fresh: { type: 'boolean', default: false }, mutant: { type: 'string' }, folder: { type: 'string', default: join(import.meta.dirname, '..', '..', '.cache', 'fuzz') } },
})
const minutes = Number(positionals[0] ?? '1')
if (!(minutes > 0)) throw new Error(`minutes: ${positionals[0] ?? ''}; expected a number above 0`)

/** A mutant may compute for so long. */
const MOST_SECONDS = 5
/** Whatever the load of the machine is, nothing that computes so little takes so long. */
const MOST_WAIT = 90
/** Mutants whose memory says what is normal. */
const NORMAL = 300
/** The least share of mutants that gets past a parser. */
const LEAST_PARSED = 0.2

interface State {
  next: number
  mutants: Record<string, number>
  parsed: Record<string, number>
  ends: Record<string, number>
  broken: { readonly mutant: number; readonly target: string; readonly kind: string; readonly message: string }[]
  /** Highest memory of the first mutants, in bytes. */
  normal: number
  most: number
}

const folder = join(values.folder, `seed-${values.seed}${values.only === '' ? '' : `-${values.only}`}`)
const stateFile = join(folder, 'state.json')
mkdirSync(folder, { recursive: true })

function load(): State {
  const empty: State = { next: 0, mutants: {}, parsed: {}, ends: {}, broken: [], normal: 0, most: 0 }
  if (values.fresh) return empty
  try {
    return { ...empty, ...(JSON.parse(readFileSync(stateFile, 'utf8')) as State) }
  } catch {
    return empty
  }
}

const state = load()
if (values.mutant !== undefined) state.next = Number(values.mutant)
const started = performance.now()
const reached = new Set<string>()
const known = new Set<string>()
const before = total(state.mutants)
const brokenBefore = state.broken.length
let active: { readonly mutant: number; readonly target: string; phase: string; readonly since: number; readonly cpu: number } | undefined
let child: ChildProcess | undefined
let isDone = false
/** A mutant that was too slow once. */
let suspect: number | undefined

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0)
}

/** Seconds that a process has computed, where the system says it. */
function computed(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid ?? 0}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return performance.now() / 1000
  }
}

function keep(mutant: number, target: string, kind: string, message: string): void {
  state.broken.push({ mutant, target, kind, message })
  writeFileSync(join(folder, `${kind}-${mutant}.txt`), `mutant ${mutant} of seed ${values.seed} (${target}), again: npm run fuzz -- 1 --seed ${values.seed}${values.only === '' ? '' : ` --only ${values.only}`} --mutant ${mutant}\n\n${message}\n`)
  console.log(`${kind}: mutant ${mutant} (${target}): ${message.split('\n')[0]}`)
}

function count(mutant: number, target: string, parsed: boolean, end: string): void {
  state.mutants[target] = (state.mutants[target] ?? 0) + 1
  if (parsed) state.parsed[target] = (state.parsed[target] ?? 0) + 1
  const key = `${target}: ${end}`
  state.ends[key] = (state.ends[key] ?? 0) + 1
  state.next = mutant + 1
  if (mutant % 200 === 0) save()
}

function save(): void {
  writeFileSync(`${stateFile}.new`, JSON.stringify(state, undefined, 1))
  renameSync(`${stateFile}.new`, stateFile)
}

function hear(message: FromChild): void {
  switch (message.kind) {
    case 'ready': break
    case 'begin': active = { mutant: message.mutant, target: message.target, phase: 'make', since: performance.now(), cpu: computed(child?.pid) }; break
    case 'phase': if (active !== undefined) active.phase = message.phase; break
    case 'coverage':
      for (const name of message.reached) reached.add(name)
      for (const name of message.known) known.add(name)
      break
    case 'end': {
      active = undefined
      count(message.mutant, message.target, message.parsed, message.end)
      if (total(state.mutants) - before <= NORMAL && before === 0) state.normal = Math.max(state.normal, message.peak)
      else if (state.normal > 0 && message.peak > 2 * state.normal) keep(message.mutant, message.target, 'memory', `${message.end}: ${Math.round(message.peak / 2 ** 20)} MiB, normal are ${Math.round(state.normal / 2 ** 20)}`)
      state.most = Math.max(state.most, message.peak)
      if (message.broken !== undefined) keep(message.mutant, message.target, message.broken.kind, message.broken.message)
      if (values.mutant !== undefined) finish()
    }
  }
}

function begin(): void {
  child = fork(join(import.meta.dirname, 'child.ts'), [values.seed, String(state.next), values.only], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [...process.execArgv, '--max-old-space-size=1024'] })
  let words = ''
  child.stderr?.on('data', (data: Buffer) => { words = (words + data.toString()).slice(-4000) })
  child.on('message', (message) => hear(message as FromChild))
  child.on('exit', (code, signal) => {
    if (isDone) return
    const at = active
    active = undefined
    if (at === undefined) {
      console.error(words)
      throw new Error(`the process for mutants ended without one (${String(code ?? signal)})`)
    }
    count(at.mutant, at.target, at.phase !== 'parse', 'process ended')
    // What the runtime does with a file that it accepts is not in our hands, and is told apart.
    keep(at.mutant, at.target, 'crash', `the process ended (${String(code ?? signal)}) in '${at.phase}'\n${words}`)
    begin()
  })
}

function finish(): void {
  isDone = true
  child?.kill('SIGKILL')
  clearInterval(timer)
  save()
  const all = total(state.mutants)
  const share = (n: number, of: number): string => `${((100 * n) / Math.max(1, of)).toFixed(1)} %`
  for (const [name, n] of Object.entries(state.mutants)) console.log(`${name.padEnd(12)} ${String(n).padStart(7)} mutants, ${share(state.parsed[name] ?? 0, n)} past the parser`)
  if (values.mutant === undefined) console.log(Object.entries(state.ends).sort((a, b) => b[1] - a[1]).map(([end, n]) => `  ${end} ${n}`).join('\n'))
  console.log(`${all - before} mutants in ${((performance.now() - started) / 1000).toFixed(0)} s, ${all} in all of seed ${values.seed}; ${share(total(state.parsed), all)} past the parsers; branches reached ${reached.size} of ${known.size}; memory ${Math.round(state.most / 2 ** 20)} MiB, normal ${Math.round(state.normal / 2 ** 20)}; ${state.broken.length} broke a promise`)
  if (state.broken.length > brokenBefore) console.log(`kept in ${folder}`)
  if (state.broken.length > brokenBefore || (all > NORMAL && total(state.parsed) < LEAST_PARSED * all)) process.exitCode = 1
}

const timer = setInterval(() => {
  if (active !== undefined) {
    const seconds = computed(child?.pid) - active.cpu
    const waited = (performance.now() - active.since) / 1000
    if (seconds > MOST_SECONDS || waited > MOST_WAIT) {
      const { mutant, target, phase } = active
      active = undefined
      // Threads of the runtime wait by computing, on a machine that others use too: only what is slow twice is slow.
      if (suspect === mutant || values.mutant !== undefined) {
        count(mutant, target, phase !== 'parse', 'too long')
        keep(mutant, target, 'hang', `${seconds.toFixed(1)} s of computing, ${waited.toFixed(1)} s in all, in '${phase}'`)
      }
      suspect = mutant
      child?.removeAllListeners()
      child?.kill('SIGKILL')
      if (values.mutant === undefined) begin()
      else finish()
    }
  }
  if (performance.now() - started > minutes * 60_000) finish()
}, 250)
process.on('SIGINT', finish)
process.on('SIGTERM', finish)
begin()
