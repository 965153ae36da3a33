import { join, relative, resolve } from 'node:path'
import type { Command } from 'commander'
import { openModelFile, writeGgufAdapter, writePeft, type ModelFile, type Tokenizer } from '@lowbit/causal-lm'
import { chatSamples, convertTrained, FINE_TUNE_OPTIONS, fineTune, mergeTrained, modelFolder, packSamples, saveFolder, textSamples, trainableFrom, trainedAdapter, trainedGguf, type FineTuned, type FineTuneSettings, type PackedWindow, type TrainableLm, type TrainedModel, type TrainingStep } from '@lowbit/causal-lm/train'
import { distillation } from '@lowbit/algos-qat'
import { learningCurveSvg, LowbitError } from '@lowbit/core'
import { atomicWrite, atomicWriteText, makeFolder, readWholeFile, removeFiles } from '@lowbit/formats/node'
import { addFlags, readFlags } from '../flags/flag.js'
import { refuseStream } from '../output/files.js'
import { processTerminal, type Terminal } from '../output/terminal.js'
import { FINETUNE_FLAGS, type FinetuneValues } from './finetune-flags.js'
import { adapterOptions, trainingRecipe, usualRate } from './finetune-recipe.js'
import { trainingStore } from './training-store.js'

/** A text that is larger is read by no training that runs here. */
const MAX_TEXT = 1 << 30
const WINDOW = 256

/** `lowbit lm finetune` */
export function finetuneLmCommand(lm: Command): void {
  const command = lm.command('finetune').description('go on training a model, with quantization in the loop or adapters over a frozen base').argument('<model>', 'a .gguf file, a Hugging Face folder, or a llama2.c .bin')
  addFlags(command, FINETUNE_FLAGS)
    .addHelpText('after', `
Examples:
  $ lowbit lm finetune stories.bin -d stories.txt -w int4 -g 32 -a int8 --steps 300 -o out/
      trains weights that know they will be int4; \`lowbit lm generate out/ "Once"\` runs them
  $ lowbit lm finetune SmolLM2-135M.gguf -d chat.jsonl --lora 16 --base nf4 -o adapter/
      trains an adapter of rank 16 over the model in NF4; the adapter stays beside it
  $ lowbit lm finetune ./Qwen2.5-0.5B -d text.txt --layers 12 --lora 8 --base nf4 --recompute 1 --logit-rows 128 -o out/
      half of the layers, little memory`)
    .action(async (model: string) => {
      const values = readFlags<FinetuneValues>(command, FINETUNE_FLAGS)
      const terminal = processTerminal({ quiet: values.quiet === true || values.json === true })
      try {
        const report = await finetuneLm(model, values, terminal)
        terminal.stop()
        terminal.print(values.json === true ? JSON.stringify(report, null, 2) : describe(report, values.output))
      } finally {
        terminal.stop()
      }
    })
}

/** What `training.json` holds. */
interface FinetuneReport {
  readonly model: string
  readonly data: string
  readonly backend: string
  readonly windows: { readonly learned: number; readonly evaluated: number; readonly tokens: number }
  readonly result: FineTuned
  readonly files: readonly { readonly name: string; readonly bytes: number }[]
  readonly quantized?: { readonly weights: number; readonly bits: number }
  readonly float: readonly { readonly layer: string; readonly part: string; readonly reason: string }[]
  readonly merged?: { readonly worstError: number; readonly worstLoss: number }
  readonly notes: readonly string[]
}

async function finetuneLm(path: string, values: FinetuneValues, terminal: Terminal): Promise<FinetuneReport> {
  refuseStream('--output', values.output)
  const file = await openModelFile(path)
  try {
    const { learned, evaluated } = await readData(file, values)
    const { loadTraining } = await import('./training-backend.js')
    const backend = await loadTraining()
    const recipe = trainingRecipe(values, file.weights.config.tied)
    const adapter = adapterOptions(values)
    const shared = {
      backend, signal: terminal.signal, onProgress: terminal.onProgress,
      ...(values.layers === undefined ? {} : { layers: values.layers }),
      ...(values.recompute === undefined ? {} : { recompute: values.recompute }),
      ...(values.logitRows === undefined ? {} : { logitRows: values.logitRows }),
    }
    const model = await trainableFrom(file.weights, { ...shared, ...(recipe === undefined ? {} : { recipe }), ...(adapter === undefined ? {} : { adapter }) })
    const teacher = values.distil === true ? await trainableFrom(file.weights, shared) : undefined
    terminal.stop()
    await makeFolder(resolve(values.output))
    const store = trainingStore(values.output)
    if (values.fresh === true) await store.remove()
    const settings = settingsOf(values)
    const result = await fineTune(model, {
      ...settings, windows: learned, signal: terminal.signal,
      ...(evaluated.length === 0 ? {} : { evaluation: evaluated }),
      ...(teacher === undefined ? {} : { distil: { teacher, term: distillation({ temperature: 1 }) } }),
      checkpoints: { store, every: values.saveEvery ?? 25 },
      onStep: (step) => { tell(step, terminal) },
    })
    terminal.stop()
    const written = await write(model, file, path, values)
    const report: FinetuneReport = {
      model: file.name, data: values.data, backend: backend.name,
      windows: { learned: learned.length, evaluated: evaluated.length, tokens: learned.length * learned[0].inputs.length },
      result, float: model.parts.float, ...written,
    }
    await atomicWriteText(join(values.output, 'training.json'), `${JSON.stringify(report, null, 2)}\n`)
    await atomicWriteText(join(values.output, 'curve.svg'), learningCurveSvg([{ name: 'training', points: result.losses }, ...(result.evaluations.length === 0 ? [] : [{ name: 'evaluation', points: result.evaluations }])], { title: file.name }))
    await store.remove()
    teacher?.dispose()
    model.dispose()
    return report
  } finally {
    await file.weights.close()
  }
}

/** The settings among the flags. */
function settingsOf(values: FinetuneValues): FineTuneSettings {
  const given = Object.fromEntries(Object.keys(FINE_TUNE_OPTIONS).flatMap((name) => {
    const value: unknown = Reflect.get(values, name)
    return value === undefined ? [] : [[name, value]]
  })) as FineTuneSettings
  return { learningRate: usualRate(values), ...given }
}

async function readData(file: ModelFile, values: FinetuneValues): Promise<{ readonly learned: readonly PackedWindow[]; readonly evaluated: readonly PackedWindow[] }> {
  const tokenizer = file.tokenizer()
  if (tokenizer === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: file.name, found: 'no tokenizer', expected: 'one in the file: a text is cut by it', fix: 'open the Hugging Face folder of the model, or put tokenizer.bin beside it' })
  const { context } = file.weights.config
  const window = values.window ?? Math.min(WINDOW, context)
  if (window > context) throw new LowbitError('LOWBIT_LIMIT', { thing: '--window', found: String(window), expected: `at most ${context}, which the model was trained for` })
  const read = async (path: string): Promise<readonly PackedWindow[]> => windowsOf(path, new TextDecoder().decode(await readWholeFile(path, MAX_TEXT)), tokenizer, window, values)
  const all = await read(values.data)
  if (values.evaluation !== undefined) return { learned: all, evaluated: await read(values.evaluation) }
  // A handful of windows says nothing about others.
  const held = all.length < 20 ? 0 : Math.floor(all.length * (values.holdout ?? FINETUNE_HOLDOUT))
  return { learned: all.slice(0, all.length - held), evaluated: all.slice(all.length - held) }
}

const FINETUNE_HOLDOUT = 0.05

function windowsOf(path: string, text: string, tokenizer: Tokenizer, window: number, { separator, packing = 'packed' }: FinetuneValues): readonly PackedWindow[] {
  const samples = path.toLowerCase().endsWith('.jsonl') ? chatSamples(text, tokenizer, path) : textSamples(text, tokenizer, separator === undefined ? {} : { separator })
  return packSamples(samples, window, packing, tokenizer.eos[0] ?? 0)
}

/** A bar in a terminal; elsewhere a line at every tenth. */
function tell({ step, steps, loss, evaluation, tokensPerSecond, secondsLeft }: TrainingStep, terminal: Terminal): void {
  const item = `loss ${loss.toFixed(3)}${evaluation === undefined ? '' : `, evaluation ${evaluation.toFixed(3)}`}, ${tokensPerSecond.toFixed(0)} tokens/s, ${secondsLeft < 90 ? `${secondsLeft.toFixed(0)} s` : `${(secondsLeft / 60).toFixed(0)} min`} left`
  terminal.onProgress({ phase: 'train', done: step, total: steps, item })
  if (!process.stderr.isTTY && (step % Math.max(1, Math.floor(steps / 10)) === 0 || step === steps)) terminal.note(`step ${step} of ${steps}: ${item}`)
}

type Written = Pick<FinetuneReport, 'files' | 'quantized' | 'merged' | 'notes'>

async function write<T>(model: TrainableLm<T>, file: ModelFile, path: string, values: FinetuneValues): Promise<Written> {
  const notes: string[] = []
  if (model.parts.adapter === undefined) return { ...(await writeModel(await convertTrained(model), file, values, notes)), notes }
  if (values.merge !== undefined) {
    const merged = mergeTrained(model, values.merge)
    const [worstError, worstLoss] = [merged.errors, merged.lost].map((errors) => Math.max(0, ...errors.values()))
    return { ...(await writeModel(merged.model, file, values, notes)), ...(values.merge === 'codes' ? { merged: { worstError, worstLoss } } : {}), notes }
  }
  const adapter = trainedAdapter(model, values.layers)
  const files = new Map(writePeft(adapter, relative(resolve(values.output), resolve(path))))
  if (values.gguf === true) files.set('adapter.gguf', await writeGgufAdapter(adapter, model.config))
  await saveFolder(values.output, files)
  await removeFiles(values.output, (name) => name === 'config.json')
  return { files: sizes(files), notes }
}

async function writeModel(trained: TrainedModel, file: ModelFile, values: FinetuneValues, notes: string[]): Promise<Omit<Written, 'notes'>> {
  const tokenizer = file.ggufTokenizer()
  const files = await modelFolder(trained, { ...(file.files === undefined ? {} : { files: file.files }), ...(tokenizer === undefined ? {} : { tokenizer }) })
  await saveFolder(values.output, files)
  if (values.gguf === true) {
    try {
      const artifact = await trainedGguf(trained, tokenizer)
      await atomicWrite(join(values.output, 'model.gguf'), [artifact.bytes()])
    } catch (error) {
      notes.push(`no model.gguf: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const codes = [...trained.codes.values()]
  const weights = codes.reduce((sum, q) => sum + q.codes.length, 0)
  const bits = codes.reduce((sum, q) => sum + q.codes.length * storedBits(q.scheme.dtype, q.scheme.zeroPoint === 'float') + 16 * q.params.scales.length, 0)
  return { files: sizes(files), ...(weights === 0 ? {} : { quantized: { weights, bits: bits / weights } }) }
}

/** Bits of a code in the folder. */
const storedBits = (dtype: string, isBalanced: boolean): number => (isBalanced ? 3 : dtype === 'ternary' || dtype === 'binary' ? 2 : Number(/\d+$/.exec(dtype)?.[0] ?? 8))

const sizes = (files: ReadonlyMap<string, Uint8Array>): FinetuneReport['files'] => [...files].map(([name, { length }]) => ({ name, bytes: length }))

function describe({ result, files, quantized, merged, float, notes }: FinetuneReport, output: string): string {
  const { steps, losses, evaluations, best, stopped, tokensPerSecond, seconds } = result
  const last = losses.slice(-10).reduce((sum, [, loss]) => sum + loss, 0) / Math.max(1, Math.min(10, losses.length))
  const lines = [
    `${steps} steps${stopped === 'early' ? ', stopped early' : ''} in ${seconds.toFixed(0)} s, ${tokensPerSecond.toFixed(0)} tokens/s; loss of the last ten ${last.toFixed(4)}`,
    ...(best === undefined ? [] : [`evaluation   ${evaluations[0][1].toFixed(4)} → ${best.loss.toFixed(4)} (perplexity ${Math.exp(best.loss).toFixed(3)}) at step ${best.step}`]),
    ...(quantized === undefined ? [] : [`weights      ${quantized.weights} in ${quantized.bits.toFixed(2)} bits each, scales included`]),
    ...(merged === undefined ? [] : [`merged       relative error up to ${merged.worstError.toPrecision(3)}; against what was learned up to ${merged.worstLoss.toPrecision(3)}${merged.worstLoss > 0.25 ? ': keep the adapter beside its base instead' : ''}`]),
    ...(float.length === 0 ? [] : [`float        ${[...new Set(float.filter((f) => f.part === 'weight').map((f) => f.layer))].join(', ')}`]),
    ...notes,
    `written      ${output}: ${files.map(({ name, bytes }) => `${name} ${(bytes / 1e6).toFixed(2)} MB`).join(', ')}, training.json, curve.svg`,
  ]
  return lines.join('\n')
}

