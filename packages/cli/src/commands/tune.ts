import { createHash } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { LowbitError, parseJsonText, parseRecipe, resolveRecipe, tune, type Journal, type Recipe, type Trial } from '@lowbit/core'
import { DATA_OPTIONS } from '@lowbit/formats/data'
import { atomicWriteText, lockOutput, readTextFile } from '@lowbit/formats/node'
import { formatBytes, textTable } from '@lowbit/report'
import { readLabels } from '../data/labels.js'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import { dataFlags, dataJson, type DataValues } from '../flags/data-flags.js'
import { CLOBBER_FLAG, QUIET_FLAGS, RUN_FLAGS, type OutputValues } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { bestLinAlg } from '../jobs/linalg.js'
import { runIdentity } from '../jobs/run-identity.js'
import { checkOutputs, refuseStream } from '../output/files.js'
import { processTerminal } from '../output/terminal.js'
import { pluginTable } from '../plugins/user-plugins.js'
import { UNION } from '../recipes/union.js'
import { isPrepared } from '../recipes/recipe-of-values.js'
import { defaultOutput, execute, recipePath } from './execute.js'
import { defaultLadder, type LadderStep } from './ladder.js'
import { builtInMetric, METRICS, type MetricName } from './metrics.js'

interface TuneValues extends DataValues, Omit<OutputValues, 'report'> {
  readonly data: string
  readonly labels?: string
  readonly metric?: MetricName
  readonly tolerance?: number
  readonly calibration?: string
  readonly ladder?: string
  readonly maxFloat?: number
  readonly output?: string
  readonly allowPlugins?: boolean
}

const FLAGS: FlagsOf<TuneValues> = {
  data: { flags: '-d, --data <path>', option: { ...DATA_OPTIONS.path, about: `data to measure on: ${DATA_OPTIONS.path.about}` } },
  labels: { flags: '--labels <file>', option: { type: 'text', when: { metric: ['top1'] }, about: 'class index of each sample: .npy, .npz (array labels), or text with one a line' } },
  metric: { flags: '-m, --metric <name>', option: { type: 'choice', values: METRICS, otherwise: 'top1 with labels, else agreement', about: 'top1 needs labels, agreement is that with the float model’s top-1, sqnr is in dB' } },
  tolerance: { flags: '--tolerance <x>', option: { type: 'number', minimum: 0, otherwise: '0.01; for sqnr the dB to reach, as float is exact', about: 'how much lower than the float model’s the metric may be' } },
  calibration: { flags: '-c, --calibration <path>', option: { type: 'text', about: 'data for calibrated recipes; not the data that is measured on' } },
  ladder: { flags: '--ladder <file>', option: { type: 'text', about: 'recipes to try, smallest first: JSON, [{ "name": …, "recipe": {…} }]' } },
  maxFloat: { flags: '--max-float <n>', option: { type: 'integer', minimum: 0, otherwise: 'an eighth of them', about: 'sites that may stay in float at each recipe' } },
  output: { flags: '-o, --output <file>', option: { type: 'text', about: 'the new model' } },
  allowPlugins: RUN_FLAGS.allowPlugins,
  ...CLOBBER_FLAG,
  ...dataFlags('data'),
  ...QUIET_FLAGS,
}

/** `lowbit tune` */
export function tuneCommand(program: Command): void {
  const command = program.command('tune').description('find the smallest model that keeps a metric within a tolerance').argument('<model>', 'an .onnx file')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nTrials are kept beside the output until one wins: a stopped run goes on where it was.\n\nExamples:\n  $ lowbit tune model.onnx -d test.npz --labels test.npz -c train.npz --tolerance 0.005\n  $ lowbit tune model.onnx -d photos/ --metric agreement --tolerance 0.02')
    .action((model: string) => run(model, readFlags<TuneValues>(command, FLAGS)))
}

async function run(model: string, flags: TuneValues): Promise<void> {
  const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels)
  const metricName = flags.metric ?? (labels === undefined ? 'agreement' : 'top1')
  const wanted = flags.tolerance ?? (metricName === 'sqnr' ? 30 : 0.01)
  const folder = process.cwd()
  const ladder = flags.ladder === undefined ? defaultLadder(flags.calibration !== undefined) : await readLadder(flags.ladder)
  const plugins = await pluginTable(ladder.map(({ recipe }) => recipe), flags.allowPlugins === true, folder)
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
    const versions = Object.entries(plugins).map(([name, make]) => [name, make({}).version])
    const identity = await runIdentity([metricName, ladder, dataJson('', flags), versions, await float.capabilities.fingerprint?.sha256(), bestLinAlg().name], [...data.files, ...(calibration?.files ?? []), ...(flags.labels === undefined ? [] : [flags.labels])])
    // Opened and computed as `execute` will: the file that is written is the one that was measured.
    const result = await tune((rung) => openOnnx(model, { prepare: isPrepared(rung?.options.format) }), {
      ladder: ladder.map(({ name, recipe }) => ({ name, options: { ...resolveRecipe(recipe, plugins), linalg: bestLinAlg(), ...(calibration === undefined ? {} : { calibration }) } })),
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
      ...(flags.maxFloat === undefined ? {} : { maxFloat: flags.maxFloat }),
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
async function checkTargets(model: string, flags: TuneValues, ladder: readonly LadderStep[]): Promise<void> {
  refuseStream('--output', flags.output)
  const outputs = flags.output === undefined ? [...new Set(ladder.map(({ recipe }) => defaultOutput({ model: resolve(model), weights: recipe.weights })))] : [flags.output]
  const sources = [{ what: 'the model', path: model }, ...Object.entries({ '--data': flags.data, '--labels': flags.labels, '--calibration': flags.calibration, '--ladder': flags.ladder }).flatMap(([what, path]) => (path === undefined ? [] : [{ what, path }]))]
  for (const output of outputs) await checkOutputs([{ what: '--output', path: output }, { what: 'the recipe', path: `${output}.recipe.json` }], sources, { noClobber: flags.clobber === false })
}

async function writeBest(model: string, found: Recipe, trial: Trial, flags: TuneValues, folder: string): Promise<void> {
  const terminal = processTerminal({ quiet: true })
  const output = flags.output ?? defaultOutput({ model: resolve(model), weights: found.weights })
  const recipe = parseRecipe({
    ...found,
    model: recipePath(model, folder),
    output: recipePath(output, folder),
    ...(trial.float.length === 0 ? {} : { exclude: [...(found.exclude ?? []), ...trial.float] }),
    ...(flags.calibration === undefined ? {} : { calibration: dataJson(recipePath(flags.calibration, folder), flags) }),
  })
  const { result } = await execute(recipe, folder, terminal, { noClobber: flags.clobber === false, allowPlugins: flags.allowPlugins === true })
  if (result.artifact.size !== trial.bytes) {
    throw new LowbitError('LOWBIT_INTERNAL', { thing: output, found: `${result.artifact.size} bytes written`, expected: `the ${trial.bytes} of the file that was measured`, fix: 'please report this' })
  }
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
    return { name: step.name, recipe: parseRecipe(step.recipe, UNION) }
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
