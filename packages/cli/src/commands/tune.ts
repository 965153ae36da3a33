import { createHash } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { LowbitError, parseJsonText, parseRecipe, resolveRecipe, tune, type Journal, type Recipe, type Trial } from '@lowbit/core'
import { atomicWriteText, lockOutput, readTextFile } from '@lowbit/formats/node'
import { formatBytes, textTable } from '@lowbit/report'
import { ALGORITHMS } from '../algorithms.js'
import { readLabels } from '../data/labels.js'
import { openData } from '../data/source.js'
import { addDataFlags, dataJson, dataSpec, oneOf, type DataFlags } from '../data/spec.js'
import { bestLinAlg } from '../jobs/linalg.js'
import { runIdentity } from '../jobs/run-identity.js'
import { checkOutputs, refuseStream } from '../output/files.js'
import { processTerminal } from '../output/terminal.js'
import { defaultOutput, execute, recipePath } from './execute.js'
import { defaultLadder, type LadderStep } from './ladder.js'
import { builtInMetric, METRICS } from './metrics.js'

interface TuneFlags extends DataFlags {
  readonly data: string
  readonly labels?: string
  readonly metric?: string
  readonly tolerance?: string
  readonly calibration?: string
  readonly ladder?: string
  readonly maxFloat?: string
  readonly output?: string
  readonly clobber?: boolean
  readonly json?: boolean
  readonly quiet?: boolean
}

/** `lowbit tune` */
export function tuneCommand(program: Command): void {
  const command = program
    .command('tune')
    .description('find the smallest model that keeps a metric within a tolerance')
    .argument('<model>', 'an .onnx file')
    .requiredOption('-d, --data <path>', 'data to measure on: .npz, .npy, .safetensors, or a folder of those or of images')
    .option('--labels <file>', 'class index of each sample: .npy, .npz (array labels), or text with one a line')
    .option('-m, --metric <name>', 'top1 (needs labels), agreement (with the float model’s top-1), sqnr (dB) (default: top1 with labels, else agreement)')
    .option('--tolerance <x>', 'how much lower than the float model’s the metric may be (default 0.01; for sqnr: the dB to reach, as float is exact)')
    .option('-c, --calibration <path>', 'data for calibrated recipes; not the data that is measured on')
    .option('--ladder <file>', 'recipes to try, smallest first: JSON, [{ "name": …, "recipe": {…} }]')
    .option('--max-float <n>', 'sites that may stay in float at each recipe (default: an eighth of them)')
    .option('-o, --output <file>', 'the new model')
    .option('--no-clobber', 'refuse to replace files that are already there')
  addDataFlags(command)
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'no progress bar and no notes')
    .addHelpText('after', '\nTrials are kept beside the output until one wins: a stopped run goes on where it was.\n\nExamples:\n  $ lowbit tune model.onnx -d test.npz --labels test.npz -c train.npz --tolerance 0.005\n  $ lowbit tune model.onnx -d photos/ --metric agreement --tolerance 0.02')
    .action(run)
}

async function run(model: string, flags: TuneFlags): Promise<void> {
  const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels)
  const metricName = oneOf('--metric', flags.metric ?? (labels === undefined ? 'agreement' : 'top1'), METRICS)
  const wanted = flags.tolerance === undefined ? (metricName === 'sqnr' ? 30 : 0.01) : number('--tolerance', flags.tolerance)
  const folder = process.cwd()
  const ladder = flags.ladder === undefined ? defaultLadder(flags.calibration !== undefined) : await readLadder(flags.ladder)
  const journalFolder = join(dirname(resolve(flags.output ?? model)), `.${basename(model)}.lowbit-tune`)
  await checkTargets(model, flags, ladder)
  // The trials of a model are kept in one place: one process at a time adds to them.
  const lock = await lockOutput(`${journalFolder}.trials`)
  const float = await openOnnx(model).catch(async (error: unknown) => {
    await lock.release()
    throw error
  })
  try {
    const data = await openData(dataSpec(dataJson(flags.data, flags), folder), float.inputs())
    const calibration = flags.calibration === undefined ? undefined : await openData(dataSpec(dataJson(flags.calibration, flags), folder), float.inputs())
    const measure = builtInMetric(metricName, data, (batch) => float.run(batch), labels)
    const versions = Object.entries(ALGORITHMS).map(([name, make]) => [name, make({}).version])
    const identity = await runIdentity([metricName, ladder, dataJson('', flags), versions, await float.capabilities.fingerprint?.sha256(), bestLinAlg().name], [...data.files, ...(calibration?.files ?? []), ...(flags.labels === undefined ? [] : [flags.labels])])
    const prepare = (step: LadderStep): boolean => step.recipe.format === 'qdq' || step.recipe.format === 'qoperator'
    const result = await tune(() => openOnnx(model, { prepare: ladder.some(prepare) }), {
      ladder: ladder.map(({ name, recipe }) => ({ name, options: { ...resolveRecipe(recipe, ALGORITHMS), linalg: bestLinAlg(), ...(calibration === undefined ? {} : { calibration }) } })),
      // What counts is the file: its runtime kernels, not the emulation of the host.
      metric: async ({ run: emulated, artifact }) => {
        if (artifact === undefined) return metricName === 'sqnr' ? wanted : measure(emulated)
        const candidate = await openOnnx(artifact.bytes())
        try {
          return await measure((batch) => candidate.run(batch))
        } finally {
          await candidate.dispose()
        }
      },
      tolerance: metricName === 'sqnr' ? 0 : wanted,
      ...(flags.maxFloat === undefined ? {} : { maxFloat: number('--max-float', flags.maxFloat) }),
      journal: folderJournal(join(journalFolder, identity.slice(0, 16))),
      signal: terminal.signal,
      onProgress: terminal.onProgress,
    })
    terminal.stop()
    terminal.print(flags.json === true ? JSON.stringify({ ...result, best: result.best?.trial }, null, 2) : describe(metricName, result.float, result.trials))
    if (result.best === undefined) {
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `tuning of ${model}`, found: `no recipe of ${ladder.length} stays within the tolerance`, expected: `${metricName} within ${wanted}`, fix: 'allow more sites in float (--max-float), a wider --tolerance, or give --calibration' })
    }
    const step = ladder.find((s) => s.name === result.best?.trial.rung)
    if (step !== undefined) await writeBest(model, step.recipe, result.best.trial, flags, folder)
    await rm(journalFolder, { recursive: true, force: true })
  } finally {
    terminal.stop()
    await float.dispose()
    await lock.release()
  }
}

/** What may be written is looked at before hours of work: which of these it will be shows at the end. */
async function checkTargets(model: string, flags: TuneFlags, ladder: readonly LadderStep[]): Promise<void> {
  refuseStream('--output', flags.output)
  const outputs = flags.output === undefined ? [...new Set(ladder.map(({ recipe }) => defaultOutput({ model: resolve(model), weights: recipe.weights })))] : [flags.output]
  const sources = [{ what: 'the model', path: model }, ...Object.entries({ '--data': flags.data, '--labels': flags.labels, '--calibration': flags.calibration, '--ladder': flags.ladder }).flatMap(([what, path]) => (path === undefined ? [] : [{ what, path }]))]
  for (const output of outputs) await checkOutputs([{ what: '--output', path: output }, { what: 'the recipe', path: `${output}.recipe.json` }], sources, { noClobber: flags.clobber === false })
}

async function writeBest(model: string, found: Recipe, trial: Trial, flags: TuneFlags, folder: string): Promise<void> {
  const terminal = processTerminal({ quiet: true })
  const output = flags.output ?? defaultOutput({ model: resolve(model), weights: found.weights })
  const recipe = parseRecipe({
    ...found,
    model: recipePath(model, folder),
    output: recipePath(output, folder),
    exclude: [...(found.exclude ?? []), ...trial.float],
    ...(flags.calibration === undefined ? {} : { calibration: dataJson(recipePath(flags.calibration, folder), flags) }),
  })
  await execute(recipe, folder, terminal, { noClobber: flags.clobber === false })
  const recipeFile = `${output}.recipe.json`
  await atomicWriteText(recipeFile, `${JSON.stringify({ ...recipe, model: recipePath(model, dirname(resolve(recipeFile))), output: basename(output) }, null, 2)}\n`, { noClobber: flags.clobber === false })
  if (flags.json !== true) processTerminal().print(`\n${output} (${formatBytes(trial.bytes)}); the recipe is in ${recipeFile}`)
}

function describe(metric: string, float: number, trials: readonly Trial[]): string {
  const rows = trials.map((t) => [t.rung, String(t.float.length), formatBytes(t.bytes), t.metric.toFixed(4), t.reached ? 'good enough' : 'missed'])
  return textTable([{ heading: 'recipe' }, { heading: 'in float', right: true }, { heading: 'size', right: true }, { heading: metric, right: true }, { heading: '' }], metric === 'sqnr' ? rows : [['float32', '', '', float.toFixed(4), ''], ...rows])
}

async function readLadder(file: string): Promise<readonly LadderStep[]> {
  const wrong = (found: string): LowbitError => new LowbitError('LOWBIT_RECIPE', { thing: `ladder ${file}`, found, expected: '[{ "name": text, "recipe": a recipe }]' })
  let value: unknown
  try {
    value = parseJsonText(await readTextFile(file))
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message : String(cause))
  }
  if (!Array.isArray(value)) throw wrong('no array')
  return value.map((step: unknown, i): LadderStep => {
    if (typeof step !== 'object' || step === null || !('name' in step) || typeof step.name !== 'string' || !('recipe' in step)) throw wrong(`step ${i}`)
    return { name: step.name, recipe: parseRecipe(step.recipe) }
  })
}

/** A journal with one file a trial. */
function folderJournal(folder: string): Journal {
  const fileOf = (key: string): string => join(folder, `${createHash('sha256').update(key).digest('hex').slice(0, 24)}.json`)
  return {
    async load(key) {
      try {
        return JSON.parse(await readFile(fileOf(key), 'utf8')) as Trial
      } catch {
        return undefined
      }
    },
    async save(key, trial) {
      await mkdir(folder, { recursive: true })
      await atomicWriteText(fileOf(key), JSON.stringify(trial))
    },
  }
}

function number(flag: string, text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: 'a number of at least 0' })
  return value
}
