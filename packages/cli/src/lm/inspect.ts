import type { Command } from 'commander'
import { openCausalLm, type CausalLm } from '@lowbit/causal-lm'
import { formatBytes, textTable } from '@lowbit/report'
import { processTerminal } from '../output/terminal.js'
import { addModelOptions, openOptions, type ModelFlags } from './flags.js'

/** `lowbit lm inspect` */
export function inspectLmCommand(lm: Command): void {
  addModelOptions(lm.command('inspect'))
    .description('what a language model is made of, and what its weights become in memory')
    .argument('<model>', 'a .gguf file, a Hugging Face folder, or a llama2.c .bin')
    .option('--all', 'every matrix, not kinds of them')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ lowbit lm inspect model.gguf\n  $ lowbit lm inspect ./SmolLM2-135M --weights int4')
    .action(async (path: string, flags: ModelFlags & { all?: boolean; json?: boolean }) => {
      const terminal = processTerminal()
      try {
        using model = await openCausalLm(path, { ...openOptions(flags), onProgress: terminal.onProgress, signal: terminal.signal })
        terminal.print(flags.json === true ? JSON.stringify(facts(model), null, 2) : describe(model, flags.all === true))
      } finally {
        terminal.stop()
      }
    })
}

function facts(model: CausalLm): Record<string, unknown> {
  const { rotary, localRotary, ...config } = model.config
  return {
    name: model.name, format: model.format, hash: model.hash, engine: model.engine, context: model.context, cache: model.cache,
    config: { ...config, rotaryBase: rotary.base, ...(localRotary === undefined ? {} : { localRotaryBase: localRotary.base }) },
    tokenizer: model.tokenizer === undefined ? null : { name: model.tokenizer.name, size: model.tokenizer.size, bos: model.tokenizer.bos ?? null, eos: model.tokenizer.eos, hasChatTemplate: model.tokenizer.chat !== undefined },
    matrices: model.matrices,
  }
}

function describe(model: CausalLm, all: boolean): string {
  const { config, tokenizer, matrices } = model
  const weights = matrices.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0)
  const window = config.windows.find((w) => w !== undefined)
  const lines = [
    `${model.name}: ${config.architecture}, ${(weights / 1e6).toPrecision(3)} million weights, ${formatBytes(matrices.reduce((sum, { bytes }) => sum + bytes, 0))} in memory (${model.engine})`,
    `${config.layers} layers of ${config.width}, ${config.heads} heads of ${config.headSize} (${config.kvHeads} of keys and values), ${config.hidden} between, vocabulary ${config.vocabulary}${config.tied ? ', tied' : ''}`,
    `context ${config.context}${window === undefined ? '' : `, windows of ${window} on ${config.windows.filter((w) => w !== undefined).length} layers`}; opened with ${model.context}, cache ${model.cache}`,
    tokenizer === undefined ? 'no tokenizer' : `tokenizer ${tokenizer.name}, ${tokenizer.size} tokens, ${tokenizer.chat === undefined ? 'no chat template' : 'chat template'}`,
    '',
  ]
  const error = (e: number | undefined): string => (e === undefined ? '' : `${(-10 * Math.log10(e)).toFixed(1)} dB`)
  if (all) {
    lines.push(textTable([{ heading: 'matrix' }, { heading: 'N × K', right: true }, { heading: 'in the file' }, { heading: 'in memory' }, { heading: 'bytes', right: true }, { heading: 'SQNR', right: true }], matrices.map((m) => [m.name, m.shape.join(' × '), m.stored, m.held, formatBytes(m.bytes), error(m.error)])))
  } else {
    const kinds = new Map<string, (typeof matrices)[number][]>()
    for (const m of matrices) {
      const key = JSON.stringify([m.name.replace(/^layers\.\d+\./, ''), m.stored, m.held])
      kinds.set(key, [...(kinds.get(key) ?? []), m])
    }
    lines.push(textTable(
      [{ heading: 'matrices' }, { heading: 'count', right: true }, { heading: 'N × K', right: true }, { heading: 'in the file' }, { heading: 'in memory' }, { heading: 'bytes', right: true }, { heading: 'worst SQNR', right: true }],
      [...kinds.values()].map((group) => {
        const [m] = group
        const worst = group.reduce<number | undefined>((top, { error: e }) => (e === undefined ? top : Math.max(top ?? 0, e)), undefined)
        return [m.name.replace(/^layers\.\d+\./, ''), String(group.length), m.shape.join(' × '), m.stored, m.held, formatBytes(group.reduce((sum, { bytes }) => sum + bytes, 0)), error(worst)]
      }),
    ))
  }
  const reasons = [...new Set(matrices.flatMap(({ reason }) => reason ?? []))]
  if (reasons.length > 0) lines.push('', ...reasons.map((reason) => `changed: ${reason}`))
  return lines.join('\n')
}
