import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inChromium, noBrowser } from './lm-browser.ts'
import { best, type Speed } from './lm-speed.ts'
import { lmTable, type LmFigures } from './lm-table.ts'
import { keyOf, type Task } from './lm-task.ts'
import { machineName, slug } from './machine.ts'
import { smolLm2, smolLm2As } from './models/smollm2.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** Turns that each contender gets: they alternate, so that a busy machine is busy for both; the best counts. */
const TURNS = 3

/**
 * `npm run bench -- lm [--node 24] [--threads 1,2] [--turns 3] [--again] [--only WORD]`: SmolLM2-135M beside native llama.cpp and wllama
 * (`bench/peers`), each run in a process of its own, and int4 products beside ONNX Runtime. What this machine has measured already stays
 * (`bench/results/lm-<machine>.json`) unless `--again`; `--only` measures the pairs whose name has the word. The table of all is printed at the end.
 */
export async function benchLm(args: readonly string[]): Promise<void> {
  const value = (flag: string, fallback: string): string => (args.includes(flag) ? (args[args.indexOf(flag) + 1] ?? fallback) : fallback)
  const engine = value('--node', '24')
  const node = `${ROOT}tools/engines/node_modules/node${engine}/bin/node`
  if (!existsSync(node)) throw new Error(`no Node ${engine}: npm run engines`)
  const turns = Number(value('--turns', String(TURNS)))
  const only = value('--only', '')
  const peers = existsSync(`${ROOT}bench/peers/node_modules/node-llama-cpp`)
  if (!peers) console.log('bench/peers is not installed: ours only')
  const browser = noBrowser()
  if (browser !== undefined) console.log(`not in a browser: ${browser}`)
  const files = { Q4_1: smolLm2(), Q4_0: await smolLm2As('Q4_0'), F32: await smolLm2As('F32') }
  const machine = machineName()
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const json = new URL(`lm-${slug(machine)}.json`, folder)
  const kept = existsSync(json) ? (JSON.parse(readFileSync(json, 'utf8')) as LmFigures) : undefined
  const figures: LmFigures = { machine, node: engine, files: Object.fromEntries(Object.entries(files).map(([name, path]) => [name, statSync(path).size])), speeds: { ...kept?.speeds }, ...(kept?.gemv === undefined ? {} : { gemv: kept.gemv }) }
  const save = (): void => writeFileSync(json, `${JSON.stringify(figures, null, 1)}\n`)

  for (const [title, tasks] of pairs(value('--threads', '1,2').split(',').map(Number))) {
    const possible = tasks.filter(({ who }) => (who === 'llama' ? peers : who === 'ours' || browser === undefined))
    const missing = possible.filter((task) => args.includes('--again') || figures.speeds[keyOf(task)] === undefined)
    if (missing.length === 0 || !title.includes(only)) continue
    const runs = new Map<string, Speed[]>(possible.map((task) => [keyOf(task), []]))
    for (let turn = 0; turn < turns; turn++) {
      for (const task of possible) runs.get(keyOf(task))?.push(await run(task, files[task.file], node))
    }
    for (const [key, speeds] of runs) figures.speeds[key] = best(speeds)
    save()
    console.log(`${title}: ${possible.map((task) => `${task.who} ${task.weights ?? ''} ${figures.speeds[keyOf(task)]?.prefill.toFixed(0)} and ${figures.speeds[keyOf(task)]?.decode.toFixed(1)} tokens/s`).join(', ')}`)
  }
  if ((figures.gemv === undefined || args.includes('--again')) && 'gemv'.includes(only)) {
    figures.gemv = output(node, ['--import', 'tsx', `${ROOT}bench/lm-gemv.ts`]) as NonNullable<LmFigures['gemv']>
    save()
  }
  const table = lmTable(figures)
  writeFileSync(new URL(`lm-${slug(machine)}.md`, folder), table)
  console.log(table)
}

/** What is measured by turns, with a name. */
export function pairs(threads: readonly number[]): readonly (readonly [string, readonly Task[]])[] {
  return threads.flatMap((count) => {
    const plain = { threads: count, prompt: 128, fresh: 64, before: 0 }
    const long = { threads: count, prompt: 16, fresh: 32, before: 1984 }
    const both = (file: Task['file'], task: Omit<Task, 'who' | 'file'>): Task[] => [{ who: 'ours', file, ...task }, { who: 'llama', file, ...task }]
    return [
      [`Q4_1, ${count} threads`, both('Q4_1', plain)],
      [`Q4_0, ${count} threads`, both('Q4_0', plain)],
      [`Q4_1 at context 2000, ${count} threads`, both('Q4_1', long)],
      [`ternary, ${count} threads`, [{ who: 'ours', file: 'F32', ...plain, weights: 'int4' }, { who: 'ours', file: 'F32', ...plain, weights: 'ternary' }]],
      [`Chromium, ${count} threads`, [{ who: 'ours-chromium', file: 'Q4_1', ...plain }, { who: 'wllama', file: 'Q4_1', ...plain }]],
    ] as const
  })
}

async function run(task: Task, file: string, node: string): Promise<Speed> {
  const { who, threads, prompt, fresh, before, weights } = task
  if (who === 'ours-chromium' || who === 'wllama') return inChromium(file, threads, who === 'wllama' ? 'wllama' : 'ours')
  const numbers = [threads, prompt, fresh, before].map(String)
  const found = who === 'llama' ? output(process.execPath, [`${ROOT}bench/peers/llama.mjs`, 'speed', file, ...numbers]) : output(node, ['--expose-gc', '--import', 'tsx', `${ROOT}bench/lm-ours.ts`, file, ...numbers, ...(weights === undefined ? [] : [weights])])
  return found as Speed
}

/** The last line that a process prints, as JSON. */
function output(command: string, args: readonly string[]): unknown {
  const { status, stdout, stderr } = spawnSync(command, [...args], { cwd: ROOT, encoding: 'utf8', env: { ...process.env, TSX_TSCONFIG_PATH: `${ROOT}tsconfig.base.json` } })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}
