import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openCausalLm, openModelFile } from '@lowbit/causal-lm'
import { convertTrained, evaluationLoss, fineTune, modelFolder, saveFolder, trainableFrom, type PackedWindow, type TrainableLm } from '@lowbit/causal-lm/train'
import { int8DynamicInt4Weights } from '@lowbit/algos-qat'
import { learningCurveSvg, type Curve, type TrainingRecipe } from '@lowbit/core'
import { loadBackend } from './load-backend.js'
import { tutorialShape } from './tutorial-shape.js'
import { stories } from './stories.js'

/** Data that lies beside a checkout. */
const beside = (name: string): string => fileURLToPath(new URL(`../../../../shared/data/${name}`, import.meta.url))
const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: beside('stories260K.bin') },
    text: { type: 'string', default: beside('tinystories_val.txt') },
    steps: { type: 'string', default: '100' },
    batch: { type: 'string', default: '8' },
    window: { type: 'string', default: '256' },
    layers: { type: 'string' },
    group: { type: 'string', default: '32' },
    'learning-rate': { type: 'string', default: '5e-4' },
    output: { type: 'string', default: 'out' },
    shape: { type: 'string' },
  },
})
const [steps, batch, window, group, learningRate] = [flags.steps, flags.batch, flags.window, flags.group, flags['learning-rate']].map(Number)
await mkdir(flags.output, { recursive: true })
const backend = await loadBackend()

if (flags.shape !== undefined) {
  await tutorialShape(flags.shape, backend, flags.output)
  process.exit()
}

// 1. A model, of which only the first layers are kept if asked, and stories to learn.
const file = await openModelFile(flags.model)
const tokenizer = file.tokenizer()
if (tokenizer === undefined) throw new Error(`${flags.model} has no tokenizer`)
const { learned, test } = stories(await readFile(flags.text, 'utf8'), tokenizer, window)
const layers = flags.layers === undefined ? {} : { layers: Number(flags.layers) }
console.log(`${file.name}: ${learned.length} stories to learn, ${test.length} to be judged by, ${backend.name}`)

// 2. Prepare: int8 activations a token, int4 weights in groups.
const recipe = int8DynamicInt4Weights({ group })
const open = (of?: TrainingRecipe) => trainableFrom(file.weights, { backend, ...layers, ...(of === undefined ? {} : { recipe: of }) })
const perplexity = async <T>(model: TrainableLm<T>): Promise<number> => Math.exp(await evaluationLoss(model, test, batch))
const curves: Curve[] = []
const train = async <T>(name: string, model: TrainableLm<T>, windows: readonly PackedWindow[]): Promise<void> => {
  const result = await fineTune(model, {
    windows, steps, batch, learningRate,
    onStep: ({ step, loss, tokensPerSecond, secondsLeft }) => {
      if (step % Math.ceil(steps / 5) === 0) console.log(`  ${name}, step ${step}: loss ${loss.toFixed(3)}, ${tokensPerSecond.toFixed(0)} tokens/s, ${secondsLeft.toFixed(0)} s left`)
    },
  })
  curves.push({ name, points: result.losses })
}

// 3. Fine-tune in float; round that afterwards; and fine-tune with the rounding in the loop.
const float = await open()
console.log(`as it came: perplexity ${(await perplexity(float)).toFixed(3)}`)
await train('float', float, learned)
const rounded = await open(recipe)
for (const { name, values, kind } of float.parts.parameters.list()) {
  if (kind === 'scale' || kind === 'state') continue
  rounded.parts.parameters.get(name).values.set(values)
  rounded.parts.parameters.refresh(name)
}
const trained = await open(recipe)
await train('int4 in the loop', trained, learned)
await file.weights.close()

// 4. Convert and save, 5. load again, measure and let it tell a story; what it wrote is logged.
const keys = file.ggufTokenizer()
for (const [name, model, folder] of [['fine-tuned in float', float, 'float'], ['… and rounded afterwards', rounded, 'rounded'], ['rounding in the loop', trained, 'trained']] as const) {
  const before = await perplexity(model)
  const path = `${flags.output}/${folder}`
  const files = await modelFolder(await convertTrained(model), { ...(file.files === undefined ? {} : { files: file.files }), ...(keys === undefined ? {} : { tokenizer: keys }) })
  await saveFolder(path, files)
  using loaded = await openCausalLm(path)
  const { text, tokensPerSecond } = await loaded.generate('Once upon a time', { maxTokens: 60, log: async (record) => writeFile(`${flags.output}/log.jsonl`, `${JSON.stringify(record)}\n`, { flag: 'a' }) }).result()
  const weights = files.get('model.safetensors')?.length ?? 0
  console.log(`${name}: perplexity ${before.toFixed(3)}, ${(weights / 1e3).toFixed(0)} kB of weights, ${tokensPerSecond.toFixed(0)} tokens/s on ${loaded.engine}\n  Once upon a time${text.replace(/\s+/g, ' ')}`)
}
await writeFile(`${flags.output}/curves.svg`, learningCurveSvg(curves, { title: `${file.name}: ${steps} steps of ${batch} × ${window}` }))
