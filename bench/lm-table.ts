import { keyOf, type Task } from './lm-task.ts'
import type { Speed } from './lm-speed.ts'

/** What one machine has measured. */
export interface LmFigures {
  readonly machine: string
  readonly node: string
  /** Bytes of each file. */
  readonly files: Readonly<Record<string, number>>
  readonly speeds: Record<string, Speed>
  gemv?: { readonly ours: number; readonly web: number; readonly node: number }
}

/** Beside weights and caches a process may grow by so much. */
const MOST_MEMORY = 96e6

/** The figures as Markdown: a row for each thing that is to be reached, with how it was measured beside. */
export function lmTable(figures: LmFigures): string {
  const threads = [...new Set(Object.keys(figures.speeds).map((key) => Number(/(\d+) threads/.exec(key)?.[1])))].sort((a, b) => a - b)
  return [
    `# SmolLM2-135M on ${figures.machine}, Node ${figures.node}`,
    '',
    `Written by \`npm run bench -- lm\`: prompts of 128 tokens, then 64 new ones (Chromium: 109 and 48), tokens a second; contenders take turns, each run in a process of its own, the best of each counts. Native: llama.cpp through node-llama-cpp 3.22.1; wllama 3.13.0. Opening counts the tokenizer and no loading of modules.`,
    '',
    ...threads.flatMap((count) => [...ofThreads(figures, count), '']),
    ...gemv(figures),
  ].join('\n')
}

function ofThreads({ speeds, files }: LmFigures, threads: number): string[] {
  const of = (who: Task['who'], file: Task['file'], more: Partial<Task> = {}): Speed | undefined => speeds[keyOf({ who, file, threads, prompt: 128, fresh: 64, before: 0, ...more })]
  const long = { prompt: 16, before: 1984 }
  const [q41, q40] = [of('ours', 'Q4_1'), of('ours', 'Q4_0')]
  const [llama41, llama40] = [of('llama', 'Q4_1'), of('llama', 'Q4_0')]
  const [page, wllama] = [of('ours-chromium', 'Q4_1'), of('wllama', 'Q4_1')]
  const first = (speed: Speed | undefined): number | undefined => (speed === undefined ? undefined : speed.openMs + speed.firstMs)
  const rows = [
    faster('decode, Q4_1, against native', q41?.decode, llama41?.decode, 1.3),
    faster('decode, Q4_0, against native', q40?.decode, llama40?.decode, 1),
    faster('decode, Q4_1, in Chromium against wllama', page?.decode, wllama?.decode, 10),
    faster('prompt, Q4_1, against native', q41?.prefill, llama41?.prefill, 1.3),
    faster('prompt, Q4_0, against native', q40?.prefill, llama40?.prefill, undefined),
    faster('prompt, Q4_1, in Chromium against wllama', page?.prefill, wllama?.prefill, 15),
    faster('decode at context 2,000, Q4_1, against native', of('ours', 'Q4_1', long)?.decode, of('llama', 'Q4_1', long)?.decode, 1),
    faster('decode, ternary against int4 in groups of 32, both ours', of('ours', 'F32', { weights: 'ternary' })?.decode, of('ours', 'F32', { weights: 'int4' })?.decode, 1.1),
    shorter('open to first token, ms, Q4_1, against native', first(q41), first(llama41), 1.5),
    memory(q41, files['Q4_1']),
  ]
  return [`## ${threads === 1 ? 'One thread' : `${threads} threads`}`, '', '| | ours | theirs | ratio | to reach | |', '| --- | ---: | ---: | ---: | ---: | --- |', ...rows]
}

const figure = (value: number | undefined): string => (value === undefined ? '–' : value >= 100 ? value.toFixed(0) : value.toFixed(1))

function faster(title: string, ours: number | undefined, theirs: number | undefined, reach: number | undefined): string {
  const ratio = ours === undefined || theirs === undefined ? undefined : ours / theirs
  return `| ${title} | ${figure(ours)} | ${figure(theirs)} | ${ratio === undefined ? '–' : `${ratio.toFixed(2)}×`} | ${reach === undefined ? '' : `≥ ${reach}×`} | ${verdict(ratio, reach, (a, b) => a >= b)} |`
}

function shorter(title: string, ours: number | undefined, theirs: number | undefined, reach: number): string {
  const ratio = ours === undefined || theirs === undefined ? undefined : ours / theirs
  return `| ${title} | ${figure(ours)} | ${figure(theirs)} | ${ratio === undefined ? '–' : `${ratio.toFixed(2)}×`} | ≤ ${reach}× | ${verdict(ratio, reach, (a, b) => a <= b)} |`
}

/** What the process grew by at most, less file and caches. */
function memory(speed: Speed | undefined, file: number | undefined): string {
  const rest = speed?.grown === undefined || file === undefined ? undefined : speed.grown - file - (speed.cache ?? 0)
  return `| memory beside file and caches at the peak, Q4_1 | ${rest === undefined ? '–' : `${(rest / 1e6).toFixed(0)} MB`} | | | ≤ ${MOST_MEMORY / 1e6} MB | ${verdict(rest, MOST_MEMORY, (a, b) => a <= b)} |`
}

function verdict(found: number | undefined, reach: number | undefined, holds: (found: number, reach: number) => boolean): string {
  if (found === undefined) return 'not measured'
  return reach === undefined ? '' : holds(found, reach) ? 'met' : '**missed**'
}

function gemv({ gemv: found }: LmFigures): string[] {
  return [
    '## One product', '', '| int4 in groups of 32, 1 × 2048 × 2048, one thread, GOPS | ours | theirs | ratio | to reach | |', '| --- | ---: | ---: | ---: | ---: | --- |',
    faster('against onnxruntime-web', found?.ours, found?.web, 110), faster('against onnxruntime-node', found?.ours, found?.node, 0.8), '',
  ]
}
