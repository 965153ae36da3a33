import { cpus } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { measureRanges, openOnnx } from '@lowbit/backend-ort'
import { LowbitError, type TensorRef } from '@lowbit/core'
import { syntheticBatches } from '@lowbit/formats/data'
import { readCompanions } from '@lowbit/formats/huggingface'
import { atomicWrite, atomicWriteText, expectFreeFolder, folderFiles, lockOutput, makeFolder, readWholeFile } from '@lowbit/formats/node'
import { formatBytes, formatDecibels, textTable } from '@lowbit/report'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import { QUIET_FLAGS, type OutputValues } from '../flags/common.js'
import { dataFlags, dataJson, type DataValues } from '../flags/data-flags.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { processTerminal, type Terminal } from '../output/terminal.js'
import { DEFAULT_DTYPES, PUBLISHED_DTYPES, VARIANTS, type PublishedDtype } from '../publish/dtypes.js'
import { makeVariant, type PublishSource, type Variant } from '../publish/make-variant.js'
import { modelCard } from '../publish/model-card.js'

interface PublishValues extends DataValues, Pick<OutputValues, 'json' | 'quiet'> {
  readonly output: string
  readonly dtype?: readonly PublishedDtype[]
  readonly calibration?: string
}

const FLAGS: FlagsOf<PublishValues> = {
  output: { flags: '-o, --output <folder>', option: { type: 'text', required: true, about: 'a new or empty folder' } },
  dtype: { flags: '-d, --dtype <names>', option: { type: 'list', of: { type: 'choice', values: PUBLISHED_DTYPES }, otherwise: DEFAULT_DTYPES.join(','), about: `variants by the names of transformers.js: ${PUBLISHED_DTYPES.join(', ')}` } },
  calibration: { flags: '-c, --calibration <path>', option: { type: 'text', about: '.npz, .npy, .safetensors, or a folder of those or of images', otherwise: 'random numbers, which only show that variants run' } },
  ...dataFlags('calibration'),
  ...QUIET_FLAGS,
}

/** Longest config.json. */
const CONFIG_BYTES = 1 << 24

/** `lowbit publish` */
export function publishCommand(program: Command): void {
  const command = program.command('publish').description('a folder for transformers.js: every variant of a model, each loaded and compared, with a model card').argument('<model>', 'a float32 .onnx file')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nA variant that does not load, or is ruined, is not written, and the card says why. Configuration and tokenizer files beside\nthe model, or one folder up, are taken along. For language models: lowbit lm quantize --to onnx.\n\nExamples:\n  $ lowbit publish model.onnx -o model-web/\n  $ lowbit publish MiniLM/onnx/model.onnx -o MiniLM-web/ -c sentences.npz\n  $ lowbit publish model.onnx -o web/ --dtype fp16,q8')
    .action(async (model: string) => {
      const flags = readFlags<PublishValues>(command, FLAGS)
      const output = resolve(flags.output)
      await expectFreeFolder(output)
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const lock = await lockOutput(output)
      try {
        const variants = await publish(model, output, flags, terminal)
        terminal.stop()
        terminal.print(flags.json === true ? JSON.stringify(variants.map(({ bytes, ...v }) => ({ ...v, ...(bytes === undefined ? {} : { size: bytes.length }) })), null, 2) : describe(output, variants))
      } finally {
        terminal.stop()
        await lock.release()
      }
    })
}

async function publish(model: string, output: string, flags: PublishValues, terminal: Terminal): Promise<readonly Variant[]> {
  const { inputs, size } = await factsOf(model)
  const data = flags.calibration === undefined ? syntheticBatches(inputs, 4) : await openData(dataSpec(dataJson(flags.calibration, flags), process.cwd()), inputs)
  const dtypes = [...new Set(flags.dtype ?? DEFAULT_DTYPES)]
  const ranges = flags.calibration === undefined || !dtypes.includes('fp16') ? undefined : await measureRanges(model, data, { signal: terminal.signal, onProgress: terminal.onProgress })
  const source: PublishSource = { model, data, calibrated: flags.calibration !== undefined, ...(ranges === undefined ? {} : { ranges }) }
  const folder = join(output, 'onnx')
  await makeFolder(folder)
  const variants: Variant[] = []
  for (const dtype of dtypes) {
    const file = join(folder, `model${VARIANTS[dtype].suffix}.onnx`)
    if (dtype === 'fp32') {
      await atomicWrite(file, [await readWholeFile(model, size)])
      variants.push({ dtype, notes: [] })
      continue
    }
    terminal.note(`${dtype} …`)
    const variant = await makeVariant(dtype, source, terminal)
    if (variant.bytes !== undefined) await atomicWrite(file, [variant.bytes])
    variants.push(variant)
  }
  const made = variants.find((v) => v.comparison !== undefined)
  const name = basename(output)
  const facts = { name, size, variants, measured: flags.calibration !== undefined, batches: made?.comparison?.batches ?? 0, ranOn: `onnxruntime-node, ${process.platform} ${process.arch}, ${cpus()[0]?.model ?? 'an unknown processor'}` }
  await copyCompanions(model, output)
  await atomicWriteText(join(output, 'README.md'), modelCard(facts))
  return variants
}

async function factsOf(model: string): Promise<{ readonly inputs: readonly TensorRef[]; readonly size: number }> {
  const host = await openOnnx(model)
  try {
    if (host.files().length > 1) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: model, found: 'external data', expected: 'a model in one file, below 2 GB', fix: 'for language models: lowbit lm quantize --to onnx, which writes chunks' })
    return { inputs: host.inputs(), size: host.size() }
  } finally {
    await host.dispose()
  }
}

/** Configuration and tokenizer, from beside the model or the folder above it; a config.json must be there for transformers.js. */
async function copyCompanions(model: string, output: string): Promise<void> {
  const folder = dirname(resolve(model))
  for (const place of basename(folder) === 'onnx' ? [dirname(folder), folder] : [folder]) {
    const files = folderFiles(place)
    if ((await files.list()).includes('config.json')) await atomicWrite(join(output, 'config.json'), [await readWholeFile(join(place, 'config.json'), CONFIG_BYTES)])
    for (const { name, bytes } of await readCompanions(files)) await atomicWrite(join(output, name), [bytes])
  }
}

function describe(output: string, variants: readonly Variant[]): string {
  const rows = variants.map(({ dtype, bytes, comparison, refused, notes }) => {
    const worst = comparison?.outputs.reduce((low, o) => Math.min(low, o.sqnr), Infinity)
    return [dtype, bytes === undefined ? '' : formatBytes(bytes.length), worst === undefined ? '' : formatDecibels(worst), refused === undefined ? notes.join('; ') : `not made: ${refused}`]
  })
  return `${output}: ${variants.filter((v) => v.refused === undefined).length} of ${variants.length} variants\n${textTable([{ heading: 'dtype' }, { heading: 'size', right: true }, { heading: 'dB', right: true }, { heading: '' }], rows)}`
}
