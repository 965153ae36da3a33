import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { smolLm2, smolLm2As } from './models/smollm2.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** What a contender's process prints. */
interface Speed {
  readonly openMs: number
  readonly firstMs: number
  readonly prefill: number
  readonly decode: number
  readonly rss: number
  readonly grown?: number
  readonly file?: number
  readonly cache?: number
  readonly engine?: string
}

interface Question {
  readonly title: string
  readonly file: string
  readonly prompt: number
  readonly fresh: number
  readonly before: number
  readonly ternary?: boolean
}

/** Turns that each contender gets: they alternate, so that a busy machine is busy for both; the best counts. */
const TURNS = 3

/**
 * `npm run bench -- lm [--node 24] [--threads 1] [--turns 3]`: reading a prompt and making tokens with SmolLM2-135M, beside native
 * llama.cpp (`bench/peers`), each run in a process of its own. `--node` runs ours on another engine (`npm run engines`).
 */
export async function benchLm(args: readonly string[]): Promise<void> {
  const value = (flag: string, fallback: string): string => (args.includes(flag) ? (args[args.indexOf(flag) + 1] ?? fallback) : fallback)
  const engine = value('--node', '')
  const node = engine === '' ? process.execPath : `${ROOT}tools/engines/node_modules/node${engine}/bin/node`
  const threads = Number(value('--threads', '1'))
  const turns = Number(value('--turns', String(TURNS)))
  const hasPeer = existsSync(`${ROOT}bench/peers/node_modules/node-llama-cpp`)
  if (!hasPeer) console.log('bench/peers is not installed: ours only')
  const [q41, q40, f32] = [smolLm2(), await smolLm2As('Q4_0'), await smolLm2As('F32')]
  const questions: readonly Question[] = [
    { title: 'Q4_1', file: q41, prompt: 128, fresh: 64, before: 0 },
    { title: 'Q4_0', file: q40, prompt: 128, fresh: 64, before: 0 },
    { title: 'Q4_1 at context 2,000', file: q41, prompt: 16, fresh: 32, before: 1984 },
    { title: 'ternary', file: f32, prompt: 128, fresh: 64, before: 0, ternary: true },
  ]
  const rows: { readonly title: string; readonly ours: Speed; readonly peer?: Speed }[] = []
  for (const question of questions) {
    const numbers = [threads, question.prompt, question.fresh, question.before].map(String)
    const ours: Speed[] = []
    const peer: Speed[] = []
    for (let turn = 0; turn < turns; turn++) {
      ours.push(measure(node, ['--expose-gc', '--import', 'tsx', `${ROOT}bench/lm-ours.ts`, question.file, ...numbers, ...(question.ternary === true ? ['ternary'] : [])]))
      if (hasPeer && question.ternary !== true) peer.push(measure(process.execPath, [`${ROOT}bench/peers/llama.mjs`, 'speed', question.file, ...numbers]))
    }
    rows.push({ title: question.title, ours: best(ours), ...(peer.length > 0 ? { peer: best(peer) } : {}) })
    console.log(line(rows[rows.length - 1]))
  }
  const cpu = cpus()[0]?.model ?? 'unknown'
  const table = [
    `# SmolLM2-135M on ${cpu}, ${threads} thread${threads === 1 ? '' : 's'}, ${rows[0].ours.engine ?? ''}, Node ${engine === '' ? process.versions.node : engine}`,
    '',
    'Written by `npm run bench -- lm`. Tokens a second; the peer is native llama.cpp (node-llama-cpp 3.22.1), contenders take turns, each run in a process of its own, the best of each counts. "×" is ours over the peer\'s.',
    '',
    '| | prefill | × | decode | × | open and first token, ms | × | grown by, beside weights and cache |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...rows.map(line),
    '',
  ].join('\n')
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  // One file a CPU and number of threads: figures of different machines stay apart.
  const name = `lm-${cpu.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')}-${threads}`
  writeFileSync(new URL(`${name}.md`, folder), table)
  console.log(table)
}

function measure(node: string, args: readonly string[]): Speed {
  const { status, stdout, stderr } = spawnSync(node, [...args], { cwd: ROOT, encoding: 'utf8', env: { ...process.env, TSX_TSCONFIG_PATH: `${ROOT}tsconfig.base.json` } })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Speed
}

/** The best figure of each kind. */
function best(runs: readonly Speed[]): Speed {
  const least = (of: (run: Speed) => number): number => Math.min(...runs.map(of))
  const most = (of: (run: Speed) => number): number => Math.max(...runs.map(of))
  return { ...runs[0], openMs: least((r) => r.openMs), firstMs: least((r) => r.firstMs), prefill: most((r) => r.prefill), decode: most((r) => r.decode), rss: least((r) => r.rss), grown: least((r) => r.grown ?? 0) }
}

function line({ title, ours, peer }: { readonly title: string; readonly ours: Speed; readonly peer?: Speed }): string {
  const times = (a: number, b: number | undefined): string => (b === undefined ? '–' : `${(a / b).toFixed(2)}×`)
  const first = (speed: Speed): number => speed.openMs + speed.firstMs
  const rest = (ours.grown ?? 0) - (ours.file ?? 0) - (ours.cache ?? 0)
  return `| ${title} | ${ours.prefill.toFixed(0)} | ${times(ours.prefill, peer?.prefill)} | ${ours.decode.toFixed(1)} | ${times(ours.decode, peer?.decode)} | ${first(ours).toFixed(0)} | ${peer === undefined ? '–' : times(first(ours), first(peer))} | ${(rest / 1e6).toFixed(0)} MB |`
}
