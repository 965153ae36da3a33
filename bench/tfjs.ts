import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { dirname } from 'node:path'
import { bitnetRecipe } from '@lowbit/algos-bitnet'
import { int8DynamicInt4Weights, int8Static, intWeights, lowBit } from '@lowbit/algos-qat'
import { prepare, registerWasmGradients, type WasmGradients } from '@lowbit/backend-tfjs'
import type { TrainingRecipe } from '@lowbit/core'
import type * as Tfjs from '@tensorflow/tfjs'
import type * as Wasm from '@tensorflow/tfjs-backend-wasm'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers'

const require = createRequire(import.meta.url)
const tf: typeof Tfjs = require('@tensorflow/tfjs')
const wasm: typeof Wasm = require('@tensorflow/tfjs-backend-wasm')

/**
 * `npm run bench -- tfjs [gradients | training] [--quick]`: training on the tfjs wasm backend with our gradients, beside stock wasm
 * (where it can) and the cpu backend; and what quantization-aware training costs. Least times of interleaved turns, one thread, one
 * process. With the name of a part: that alone, the other parts of the results stay. Quick: fewer turns, the cpu backend for the whole step alone.
 */
export async function benchTfjs(args: readonly string[]): Promise<void> {
  const quick = args.includes('--quick')
  const wanted = (part: string): boolean => !args.some((a) => a === 'gradients' || a === 'training') || args.includes(part)
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  const lines: string[] = []
  if (wanted('gradients')) lines.push(...(await gradients(quick ? 3 : 12, !quick)))
  if (wanted('training')) lines.push(...(await wholeStep(quick ? 3 : 12)), ...(await quantizedTraining(quick ? 12 : 80)))
  const title = `# Training with TensorFlow.js on ${cpus()[0].model}, Node ${process.versions.node}, one thread`
  const made = sections(lines.join('\n'))
  console.log([title, '', ...made.values()].join('\n'))
  const file = new URL('./results/tfjs.md', import.meta.url)
  const kept = sections(existsSync(file) ? readFileSync(file, 'utf8') : '')
  mkdirSync(new URL('.', file), { recursive: true })
  writeFileSync(file, [title, '', 'Written by `npm run bench -- tfjs`: least times of interleaved turns in one process, a process a part.', '', ...new Map([...kept, ...made]).values()].join('\n'))
}

/** What stands under each heading of the second level. */
function sections(text: string): Map<string, string> {
  return new Map(text.split(/^(?=## )/m).flatMap((part) => (part.startsWith('## ') ? [[part.slice(0, part.indexOf('\n')), `${part.trimEnd()}\n`] as const] : [])))
}

interface Case {
  readonly name: string
  make(): () => Tensor[]
}

const normal = (...shape: number[]): Tensor => tf.randomNormal(shape)

const gradient = (f: (...x: Tensor[]) => Tensor, ...inputs: Tensor[]): (() => Tensor[]) => {
  const dy = tf.tidy(() => tf.onesLike(f(...inputs)))
  const g = tf.grads(f)
  return () => g(inputs, dy)
}

const CASES: readonly Case[] = [
  { name: 'matMul 512³, both gradients', make: () => gradient((a, b) => tf.matMul(a, b), normal(512, 512), normal(512, 512)) },
  { name: 'stacked matMul 64 × 128×32×128, both', make: () => gradient((a, b) => tf.matMul(a, b), normal(64, 128, 32), normal(64, 32, 128)) },
  { name: 'conv2d 32×28×28×8, 3×3×16, both', make: () => gradient((x, w) => tf.conv2d(x as never, w as never, 1, 'same'), normal(32, 28, 28, 8), normal(3, 3, 8, 16)) },
  { name: 'depthwiseConv2d 32×28×28×16, 3×3, both', make: () => gradient((x, w) => tf.depthwiseConv2d(x as never, w as never, 1, 'same'), normal(32, 28, 28, 16), normal(3, 3, 16, 1)) },
  { name: 'maxPool 32×28×28×16, 2×2', make: () => gradient((x) => tf.maxPool(x as never, 2, 2, 'same'), normal(32, 28, 28, 16)) },
  { name: 'gather 4096 of 512×64', make: () => gradient((x) => tf.gather(x, tf.tensor1d(Array.from({ length: 4096 }, (_, i) => (i * 37) % 512), 'int32')), normal(512, 64)) },
]

const clock = (f: () => unknown): number => {
  const start = performance.now()
  f()
  return performance.now() - start
}

/** Forward and backward of single operations: stock wasm, ours, cpu. */
async function gradients(turns: number, withCpu: boolean): Promise<string[]> {
  const rows: string[] = []
  for (const { name, make } of CASES) {
    const least = { stock: Infinity, ours: Infinity, cpu: Infinity }
    await tf.setBackend('wasm')
    await tf.ready()
    const run = make()
    const once = (): void => tf.tidy(() => void run())
    let missing = ''
    for (let turn = 0; turn < turns; turn++) {
      if (missing === '') {
        try {
          least.stock = Math.min(least.stock, clock(once))
        } catch (error) {
          missing = /'(\w+)' not registered/.exec(String(error))?.[1] ?? 'fails'
        }
      }
      const registered: WasmGradients = await registerWasmGradients(tf)
      once()
      least.ours = Math.min(least.ours, clock(once))
      registered.restore()
    }
    if (withCpu) {
      await tf.setBackend('cpu')
      const slow = make()
      least.cpu = clock(() => tf.tidy(() => void slow()))
    }
    const stock = missing === '' ? `${least.stock.toFixed(1)} | ${(least.stock / least.ours).toFixed(1)}×` : `lacks ${missing} | `
    rows.push(`| ${name} | ${least.ours.toFixed(1)} | ${stock} |${withCpu ? ` ${least.cpu.toFixed(0)} | ${(least.cpu / least.ours).toFixed(0)}×` : ' | '} |`)
    console.error(rows.at(-1))
  }
  return ['## Gradients (forward and backward), ms', '', '| operation | ours | stock wasm | | cpu | |', '|---|---:|---:|---:|---:|---:|', ...rows, '']
}

function cnn(): LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [28, 28, 1], filters: 16, kernelSize: 3, activation: 'relu' }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 64, activation: 'relu' }),
      tf.layers.dense({ units: 10 }),
    ],
  })
}

/** Causal attention over queries, keys and values of `heads` heads. */
class Attention extends tf.layers.Layer {
  static className = 'BenchAttention'

  override computeOutputShape(shapes: number[][]): number[] {
    return shapes[0]
  }

  override call(inputs: Tensor | Tensor[]): Tensor {
    const heads = 4
    return tf.tidy(() => {
      const [q, k, v] = (inputs as Tensor[]).map((x) => tf.transpose(tf.reshape(x, [x.shape[0], x.shape[1] ?? 1, heads, (x.shape[2] ?? heads) / heads]), [0, 2, 1, 3]))
      const time = q.shape[2] ?? 1
      const mask = tf.sub(tf.linalg.bandPart(tf.ones([time, time]), -1, 0), 1)
      const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(q.shape[3] ?? 1)), tf.mul(mask, 1e9))
      return tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]), [q.shape[0], time, -1])
    })
  }
}

/** Two blocks of a decoder: width 256, four heads, 64 tokens, vocabulary 512. */
function decoder(): LayersModel {
  const width = 256
  const next = (x: unknown): SymbolicTensor => x as SymbolicTensor
  const dense = (units: number, x: SymbolicTensor, activation?: 'relu'): SymbolicTensor => next(tf.layers.dense({ units, useBias: false, ...(activation && { activation }) }).apply(x))
  const input = tf.input({ shape: [64] })
  let x = next(tf.layers.embedding({ inputDim: 512, outputDim: width }).apply(input))
  for (let block = 0; block < 2; block++) {
    const a = next(tf.layers.layerNormalization().apply(x))
    const mixed = next(new Attention({}).apply([dense(width, a), dense(width, a), dense(width, a)]))
    x = next(tf.layers.add().apply([x, dense(width, mixed)]))
    const b = next(tf.layers.layerNormalization().apply(x))
    x = next(tf.layers.add().apply([x, dense(width, dense(4 * width, b, 'relu'))]))
  }
  return tf.model({ inputs: input, outputs: dense(512, x) })
}

interface Contender {
  readonly name: string
  readonly recipe?: TrainingRecipe
}

function stepOf(model: LayersModel, x: Tensor, labels: Tensor, recipe?: TrainingRecipe): () => void {
  if (recipe !== undefined) prepare(tf, model, recipe)
  const optimizer = tf.train.adam(1e-3)
  return () => tf.tidy(() => void optimizer.minimize(() => tf.losses.softmaxCrossEntropy(labels, model.apply(x, { training: true }) as Tensor) as never, true)?.dataSync())
}

const oneHot = (count: number, classes: number): Tensor => tf.oneHot(tf.tensor1d(Array.from({ length: count }, (_, i) => (i * 7) % classes), 'int32'), classes).toFloat()

/** A training step that stock wasm can not compute, against the cpu backend. */
async function wholeStep(turns: number): Promise<string[]> {
  await tf.setBackend('cpu')
  const cpu = clock(stepOf(cnn(), tf.randomUniform([16, 28, 28, 1]), oneHot(16, 10)))
  await tf.setBackend('wasm')
  const registered = await registerWasmGradients(tf)
  const fast = stepOf(cnn(), tf.randomUniform([16, 28, 28, 1]), oneHot(16, 10))
  fast()
  let ours = Infinity
  for (let turn = 0; turn < turns; turn++) ours = Math.min(ours, clock(fast))
  registered.restore()
  return ['## A training step of conv 3×3×16, conv 3×3×32, dense 64, dense 10; 16 images; Adam', '', `Ours on wasm ${ours.toFixed(1)} ms, the cpu backend ${cpu.toFixed(0)} ms: ${(cpu / ours).toFixed(0)}×. Stock wasm can not compute it.`, '']
}

/** Training steps with fake quantization against those without. */
async function quantizedTraining(turns: number): Promise<string[]> {
  await tf.setBackend('wasm')
  await tf.ready()
  const registered = await registerWasmGradients(tf)
  const images = tf.randomUniform([64, 28, 28, 1])
  const tokens = tf.tensor2d(Array.from({ length: 8 * 64 }, (_, i) => (i * 31) % 512), [8, 64], 'int32')
  const suites: { readonly title: string; readonly build: () => LayersModel; readonly x: Tensor; readonly y: Tensor; readonly turns: number; readonly contenders: readonly Contender[] }[] = [
    {
      title: 'CNN, 64 images',
      build: cnn,
      x: images,
      y: oneHot(64, 10),
      turns,
      contenders: [{ name: 'float' }, { name: 'LSQ int4 weights', recipe: intWeights(4) }, { name: 'LSQ W4A4', recipe: lowBit(4) }, { name: 'int8 static', recipe: int8Static() }],
    },
    {
      title: 'decoder, 8 × 64 tokens',
      build: decoder,
      x: tokens,
      y: tf.reshape(oneHot(512, 512), [8, 64, 512]),
      turns: turns / 8,
      contenders: [{ name: 'float' }, { name: 'int8 dynamic, int4 groups of 32', recipe: int8DynamicInt4Weights() }, { name: 'BitNet: ternary weights, int8 a row', recipe: bitnetRecipe() }],
    },
  ]
  const lines = ['## What quantization-aware training costs', '', '| model | training | ms a step | times float |', '|---|---|---:|---:|']
  for (const { title, build, x, y, contenders, turns: count } of suites) {
    const running = contenders.map(({ name, recipe }) => ({ name, step: stepOf(build(), x, y, recipe), least: Infinity }))
    for (let warm = 0; warm < 3; warm++) for (const r of running) r.step()
    for (let turn = 0; turn < Math.max(count, 3); turn++) for (const r of running) r.least = Math.min(r.least, clock(r.step))
    for (const r of running) lines.push(`| ${title} | ${r.name} | ${r.least.toFixed(1)} | ${(r.least / running[0].least).toFixed(2)} |`)
  }
  registered.restore()
  return [...lines, '']
}
