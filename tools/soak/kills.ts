import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { externalRange, graph, hostToTensor, isExternal, model, node, readOnnx, tensorsOf, valueInfo, writeNpz, type OnnxModel } from '@lowbit/formats'
import { saveOnnx } from '@lowbit/formats/node'

const BIN = fileURLToPath(new URL('../../packages/cli/dist/bin.js', import.meta.url))
const HOOK = new URL('./kill-hook.mjs', import.meta.url).href

/** A command line whose kills are tried. Every output stood there before, with other content. */
export interface Scenario {
  readonly name: string
  readonly args: readonly string[]
  /** Files that it writes. */
  readonly outputs: readonly string[]
}

/** Of each kind of writing one: a model in one file, a pair, work that is kept, a journal. */
export const SCENARIOS: readonly Scenario[] = [
  { name: 'one file', args: ['quantize', 'model.onnx', '-f', 'dequantize', '-o', 'out.onnx', '--save-recipe', 'out.json'], outputs: ['out.onnx', 'out.json'] },
  { name: 'a model and its data', args: ['quantize', 'pair.onnx', '-f', 'dequantize', '-o', 'out.onnx'], outputs: ['out.onnx'] },
  { name: 'calibrated work', args: ['quantize', 'model.onnx', '-w', 'int4', '-g', '16', '-c', 'data.npz', '--calibration-cache', 'out.stats', '-o', 'out.onnx', '--report', 'out.json', '--threads', '1'], outputs: ['out.onnx', 'out.stats'] },
  { name: 'a search', args: ['tune', 'model.onnx', '-d', 'data.npz', '-m', 'sqnr', '--tolerance', '5', '-o', 'out.onnx'], outputs: ['out.onnx', 'out.onnx.recipe.json'] },
]

const LAYERS = 3
const WIDTH = 48

function numbers(count: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + seed * 78.233) * 0.3)
}

function smallModel(seed: number): OnnxModel {
  const names = Array.from({ length: LAYERS }, (_, i) => `w${i}`)
  const main = graph({
    nodes: names.map((w, i) => node('MatMul', [i === 0 ? 'x' : `h${i - 1}`, w], [i === LAYERS - 1 ? 'y' : `h${i}`], {}, '', `layer${i}`)),
    inputs: [valueInfo('x', 'float32', ['n', WIDTH])],
    outputs: [valueInfo('y', 'float32', ['n', WIDTH])],
    initializers: names.map((w, i) => hostToTensor(w, { dtype: 'float32', shape: [WIDTH, WIDTH], data: numbers(WIDTH * WIDTH, seed + i) })),
  })
  return model(main, { '': 21 }, 10)
}

/** What stood at an output before. */
const OLD = new TextEncoder().encode('what was there before')

/** A folder with models and data, and how its command is run. */
export class KillBench {
  readonly folder = mkdtempSync(join(tmpdir(), 'lowbit-kills-'))
  readonly #inputs = join(this.folder, 'inputs')
  #runs = 0

  async prepare(): Promise<void> {
    mkdirSync(this.#inputs)
    await saveOnnx(join(this.#inputs, 'model.onnx'), smallModel(1), { external: false })
    await saveOnnx(join(this.#inputs, 'pair.onnx'), smallModel(5), { external: true })
    writeFileSync(join(this.#inputs, 'data.npz'), writeNpz({ x: { dtype: 'float32', shape: [96, WIDTH], data: numbers(96 * WIDTH, 3) } }))
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** What a whole run gives, and how many file operations it makes. */
  async reference(scenario: Scenario): Promise<Reference> {
    const folder = this.#fresh(scenario)
    const countFile = join(this.folder, 'count')
    const { code, output } = await this.#run(scenario, folder, { LOWBIT_KILL_COUNT: countFile })
    if (code !== 0) throw new Error(`${scenario.name} fails by itself: ${output}`)
    const files = contents(folder)
    return { operations: Number(readFileSync(countFile, 'utf8')), files }
  }

  /**
   * Kills a run right before one of its file operations, and runs it again.
   * @returns what is wrong; nothing if all is well
   */
  async kill(scenario: Scenario, reference: Reference, at: number): Promise<readonly string[]> {
    const folder = this.#fresh(scenario)
    const wrong: string[] = []
    const say = (text: string): void => void wrong.push(`${scenario.name}, killed at ${at}: ${text}`)
    const killed = await this.#run(scenario, folder, { LOWBIT_KILL_AT: String(at) })
    if (killed.signal !== 'SIGKILL' && killed.code !== 0) say(`it ended with ${killed.code}: ${killed.output}`)
    for (const name of scenario.outputs) {
      const found = existsSync(join(folder, name)) ? readFileSync(join(folder, name)) : undefined
      const isOld = found === undefined ? this.#isNewByDefault(name) : found.equals(OLD)
      if (!isOld && found?.equals(reference.files.get(name) ?? OLD) !== true) say(`${name} is neither the old file nor the new one`)
      if (!isOld && found !== undefined && name.endsWith('.onnx')) for (const missing of missingData(folder, found, reference)) say(`${name} refers to ${missing}, which is not whole`)
    }
    const again = await this.#run(scenario, folder, {})
    if (again.code !== 0) say(`the next run ended with ${again.code}: ${again.output}`)
    const files = contents(folder)
    for (const [name, bytes] of files) {
      const expected = reference.files.get(name)
      // Reports tell times; a cache has no statistics of sites that the killed run had done already.
      if (expected === undefined) say(`${name} is left behind`)
      else if (!bytes.equals(expected) && !/\.(json|stats)$/.test(name)) say(`${name} is not what a whole run gives`)
    }
    for (const name of reference.files.keys()) if (!files.has(name)) say(`${name} is missing`)
    rmSync(folder, { recursive: true, force: true })
    return wrong
  }

  /** A cache must fit its run: it begins without one. */
  #isNewByDefault(name: string): boolean {
    return name.endsWith('.stats')
  }

  #fresh(scenario: Scenario): string {
    const folder = join(this.folder, `run-${this.#runs++}`)
    cpSync(this.#inputs, folder, { recursive: true, preserveTimestamps: true })
    for (const name of scenario.outputs) if (!this.#isNewByDefault(name)) writeFileSync(join(folder, name), OLD)
    return folder
  }

  #run({ args }: Scenario, cwd: string, env: Readonly<Record<string, string>>): Promise<{ readonly code: number | null; readonly signal: string | null; readonly output: string }> {
    const temporary = join(cwd, 'tmp')
    mkdirSync(temporary, { recursive: true })
    const child = spawn(process.execPath, ['--import', HOOK, BIN, ...args], { cwd, env: { ...process.env, TMPDIR: temporary, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()))
    return new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, output: output.slice(-600) })))
  }
}

export interface Reference {
  readonly operations: number
  readonly files: ReadonlyMap<string, Buffer>
}

function contents(folder: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name)
    // What ONNX Runtime itself leaves in the system's temporary folder is not ours.
    if (name === 'tmp' || /^tmp[\\/](mat-debug-\d+\.log|\.ses)$/.test(name)) continue
    files.set(name, statSync(path).isFile() ? readFileSync(path) : Buffer.from('a folder'))
  }
  return files
}

function missingData(folder: string, bytes: Uint8Array, reference: Reference): readonly string[] {
  const names = new Set([...tensorsOf(readOnnx(bytes))].filter(isExternal).map((t) => externalRange(t).location))
  return [...names].filter((name) => !existsSync(join(folder, name)) || !readFileSync(join(folder, name)).equals(reference.files.get(name) ?? OLD))
}
