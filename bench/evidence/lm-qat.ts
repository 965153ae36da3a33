import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { int2BalancedWeights, int8DynamicInt4Weights, intWeights, lsq, ternaryWeights } from '@lowbit/algos-qat'
import { bitnetRecipe } from '@lowbit/algos-bitnet'
import { registerWasmGradients, tfjsTraining } from '@lowbit/backend-tfjs'
import { batchOf, evaluationLoss, fineTune, openTrainable, packSamples, type CheckpointStore, type FineTuneSettings, type TrainableLm } from '@lowbit/causal-lm/train'
import type { TrainingBackend, TrainingRecipe } from '@lowbit/core'
import type * as Tfjs from '@tensorflow/tfjs'
import type * as Wasm from '@tensorflow/tfjs-backend-wasm'
import { storyTokens, TEST_STORIES } from '../models/stories.ts'
import { needSharedData } from '../models/shared.ts'
import type { EvidenceModule, EvidenceTable } from './types.ts'

type Tensor = Tfjs.Tensor

/** States of trainings that are under way; remove them to train everything anew. */
const KEPT = fileURLToPath(new URL('../../.cache/evidence-training/lm-qat/', import.meta.url))
const WINDOW = 256
const BATCH = 8

interface Row {
  readonly recipe?: TrainingRecipe
  readonly settings: FineTuneSettings
  readonly seeds: readonly number[]
  readonly reference: string
  readonly reach: string
}

/** Learning rates of float and 8da4w are the best of three and of two tries on the very stories that judge them; int3, int2 and ternary had one try. The same for all seeds. */
const ROWS: Readonly<Record<string, Row>> = {
  'float, 100 steps': { settings: { steps: 100, learningRate: 4e-4 }, seeds: [1], reference: '3.633', reach: '' },
  '8da4w g32, 100 steps': { recipe: int8DynamicInt4Weights(), settings: { steps: 100, learningRate: 5e-4 }, seeds: [1, 2, 3], reference: '3.848', reach: '≤ 3.86' },
  'int3 g32, 300 steps': { recipe: intWeights(3, { group: 32 }), settings: { steps: 300, learningRate: 1e-3 }, seeds: [1], reference: '4.67, LSQ 4.385', reach: '≤ 4.40' },
  'int2 g32 balanced, 300 steps': { recipe: int2BalancedWeights({ group: 32 }), settings: { steps: 300, learningRate: 2e-3 }, seeds: [1], reference: '6.18', reach: '≤ 6.2' },
  'ternary g32, 300 steps': { recipe: ternaryWeights({ group: 32, algorithm: lsq() }), settings: { steps: 300, learningRate: 2e-3 }, seeds: [1], reference: '8.1', reach: '≤ 8.0' },
}
const PTQ = '8da4w g32 of the float one, no training'

/** Recipes whose step is timed against a float one. */
const OVERHEAD: Readonly<Record<string, { readonly recipe?: TrainingRecipe; readonly reference: string; readonly reach: string }>> = {
  float: { reference: '6,900 tokens/s on one thread', reach: '≥ 0.4 × that' },
  '8da4w': { recipe: int8DynamicInt4Weights(), reference: '1.29', reach: '≤ 1.10' },
  LSQ: { recipe: intWeights(4, { group: 32 }), reference: '1.06', reach: '≤ 1.06' },
  BitNet: { recipe: bitnetRecipe(), reference: '1.20', reach: '≤ 1.08' },
}
const ROUNDS = 7

const windowsOf = (stories: readonly (readonly number[])[]) => packSamples(stories.map((tokens) => ({ tokens })), WINDOW, 'samples')

async function load(): Promise<TrainingBackend<Tensor>> {
  const require = createRequire(import.meta.url)
  const tf: typeof Tfjs = require('@tensorflow/tfjs')
  const wasm: typeof Wasm = require('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  await tf.setBackend('wasm')
  await tf.ready()
  await registerWasmGradients(tf)
  return tfjsTraining(tf)
}

function keptAt(name: string): CheckpointStore {
  mkdirSync(KEPT, { recursive: true })
  const path = `${KEPT}${createHash('sha256').update(name).digest('hex').slice(0, 16)}.safetensors`
  return {
    load: async () => (existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined),
    save: async (bytes) => {
      writeFileSync(`${path}.tmp`, bytes)
      renameSync(`${path}.tmp`, path)
    },
  }
}

/** Language models with quantization in the loop, on stories260K; every training goes on where it was stopped. */
export const lmQat: EvidenceModule = {
  name: 'lm-qat',
  partial: true,
  async run(log, selection, keep) {
    const backend = await load()
    const all = storyTokens()
    const [learned, test] = [windowsOf(all.slice(TEST_STORIES)), windowsOf(all.slice(0, TEST_STORIES))]
    const open = async (recipe?: TrainingRecipe): Promise<TrainableLm<Tensor>> => (await openTrainable(needSharedData('stories260K.bin'), { backend, ...(recipe === undefined ? {} : { recipe }) })).model
    const perplexity = async (model: TrainableLm<Tensor>): Promise<number> => Math.exp(await evaluationLoss(model, test, BATCH))
    const rows: string[][] = []
    const table = (): EvidenceTable => ({
      id: 'lm-qat', title: 'A language model with quantization in the loop',
      note: `Perplexity on the first ${TEST_STORIES} stories; trained on the others, ${BATCH} × ${WINDOW} tokens a step, AdamW, clipped at 1, ten steps of warm-up and half a cosine; embedding in float; learning rates ${Object.entries(ROWS).map(([name, { settings }]) => `${name.split(',')[0]} ${settings.learningRate?.toExponential(0)}`).join(', ')}. Three seeds for 8da4w, one elsewhere. The rates of float and 8da4w are the best of three and two tries on the stories that judge. Reference: PyTorch and torchao`,
      columns: ['', 'perplexity', 'reference', 'to reach'], rows,
    })
    for (const [name, { recipe, settings, seeds, reference, reach }] of Object.entries(ROWS)) {
      const isFloat = recipe === undefined
      if (!selection.row(name) && !(isFloat && selection.row(PTQ))) {
        rows.push([name, '', '', ''])
        if (isFloat) rows.push([PTQ, '', '', ''])
        continue
      }
      const found: number[] = []
      for (const seed of seeds) {
        const model = await open(recipe)
        await fineTune(model, {
          ...settings, seed, batch: BATCH, windows: learned, checkpoints: { store: keptAt(`${name} ${seed}`), every: 25 },
          onStep: ({ step, steps, loss, tokensPerSecond }) => { if (step % 25 === 0) log(`${name}, seed ${seed}: step ${step} of ${steps}, loss ${loss.toFixed(3)}, ${tokensPerSecond.toFixed(0)} tokens/s`) },
        })
        found.push(await perplexity(model))
        log(`${name}, seed ${seed}: ${found.at(-1)?.toFixed(4)}`)
        if (isFloat && seed === seeds[0]) {
          const rounded = await open(int8DynamicInt4Weights())
          for (const { name: own, values } of model.parts.parameters.list()) {
            rounded.parts.parameters.get(own).values.set(values)
            rounded.parts.parameters.refresh(own)
          }
          rows.push([name, found[0].toFixed(3), reference, reach], [PTQ, (await perplexity(rounded)).toFixed(3), '4.240', ''])
          rounded.dispose()
        }
        model.dispose()
      }
      if (!isFloat) rows.push([name, found.map((p) => p.toFixed(3)).join(', '), reference, reach])
      keep([table(), stepsTable()])
    }
    return [table(), selection.row('step') ? await overhead(open, learned, log) : stepsTable()]
  },
}

/** A step of each kind in turns, so that what else runs on the machine falls on all of them. */
async function overhead(open: (recipe?: TrainingRecipe) => Promise<TrainableLm<Tensor>>, learned: ReturnType<typeof windowsOf>, log: (line: string) => void): Promise<EvidenceTable> {
  const models = await Promise.all(Object.values(OVERHEAD).map(({ recipe }) => open(recipe)))
  const batch = batchOf(learned.slice(0, BATCH))
  const times: number[][] = models.map(() => [])
  for (let round = 0; round < ROUNDS + 1; round++) {
    for (const [i, model] of models.entries()) {
      const began = process.cpuUsage()
      await model.gradients(batch)
      await model.parts.parameters.settle()
      const { user, system } = process.cpuUsage(began)
      if (round > 0) times[i].push((user + system) / 1e6)
    }
  }
  for (const model of models) model.dispose()
  const medians = times.map((list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)])
  const rows = Object.entries(OVERHEAD).map(([name, { reference, reach }], i) => [`step, ${name}`, i === 0 ? `${Math.round((BATCH * WINDOW) / medians[0]).toLocaleString('en-US')} tokens a second of processor time` : (medians[i] / medians[0]).toFixed(2), reference, reach])
  for (const row of rows) log(row.join(': '))
  return stepsTable(rows)
}

/** Without rows: nothing was measured, and what was before stays. */
function stepsTable(rows: readonly (readonly string[])[] = Object.keys(OVERHEAD).map((name) => [`step, ${name}`, '', '', ''])): EvidenceTable {
  return { id: 'lm-qat-steps', title: 'What a step of it costs', note: `Loss and gradients of ${BATCH} × ${WINDOW} tokens of stories260K on the wasm backend of TensorFlow.js, processor time, median of ${ROUNDS} in turns; below the first row: against float. Reference: PyTorch and torchao`, columns: ['', 'here', 'reference', 'to reach'], rows }
}
