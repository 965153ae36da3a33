import type { Command } from 'commander'
import { readWholeFile } from '@lowbit/formats/node'
import { measureDivergence, measurePerplexity, openCausalLm, type CausalLm, type DecoderSession, type Divergence, type Estimate, type Perplexity } from '@lowbit/causal-lm'
import { wholeNumber } from '../flags/whole-number.js'
import { processTerminal } from '../output/terminal.js'
import { addModelOptions, openOptions, type ModelFlags } from './flags.js'

/** A text that is larger is no text to be measured by. */
const MAX_TEXT = 1 << 30
/** Tokens whose logits are in memory at a time: 64 of 256,000 tokens are 64 MB. */
const ROWS = 64

type EvalFlags = ModelFlags & { text: string; against?: string; window?: string; stride?: string; limit?: string; bos?: boolean; json?: boolean }

/** `lowbit lm eval` */
export function evalLmCommand(lm: Command): void {
  addModelOptions(lm.command('eval'))
    .description('perplexity on a text, and how far a model is from another one')
    .argument('<model>', 'a .gguf file, a Hugging Face folder, or a llama2.c .bin')
    .requiredOption('--text <file>', 'the text')
    .option('--against <model>', 'a reference: Kullback-Leibler divergence, same likeliest token, change of probabilities')
    .option('--window <tokens>', 'tokens that are read together (default: 1024, or the context)')
    .option('--stride <tokens>', 'tokens from one window to the next (default: the window)')
    .option('--limit <tokens>', 'only the first so many tokens of the text')
    .option('--bos', 'put the first token that the model wants before the text')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ lowbit lm eval model.gguf --text wiki.txt --limit 4096\n  $ lowbit lm eval model.q4.gguf --against model.f32.gguf --text wiki.txt --window 512 --stride 256')
    .action(async (path: string, flags: EvalFlags) => {
      const terminal = processTerminal()
      const { signal, onProgress } = terminal
      try {
        const text = new TextDecoder().decode(await readWholeFile(flags.text, MAX_TEXT))
        // The reference stays as it is in its file.
        const { weights, ...same } = openOptions(flags)
        using model = await openCausalLm(path, { ...same, ...(weights === undefined ? {} : { weights }), onProgress, signal })
        using reference = flags.against === undefined ? undefined : await openCausalLm(flags.against, { ...same, onProgress, signal })
        const tokens = cut(model, text, flags)
        const most = Math.min(model.config.context, reference?.config.context ?? Infinity)
        const window = flags.window === undefined ? Math.min(1024, most, tokens.length) : wholeNumber('--window', flags.window, 2)
        const options = {
          window,
          ...(flags.stride === undefined ? {} : { stride: wholeNumber('--stride', flags.stride) }),
          signal,
          onProgress: (done: number, total: number) => {
            onProgress({ phase: 'compare', done, total, item: 'tokens' })
          },
        }
        const session = (of: CausalLm): DecoderSession => of.session({ context: Math.min(window, of.config.context), rows: Math.min(ROWS, window), wanted: Math.min(ROWS, window) })
        using own = session(model)
        using other = reference === undefined ? undefined : session(reference)
        const result = other === undefined ? await measurePerplexity(own, tokens, options) : await measureDivergence(own, other, tokens, options)
        terminal.stop()
        const about = { model: model.name, hash: model.hash, ...(reference === undefined ? {} : { against: reference.name, againstHash: reference.hash }), engine: model.engine, cache: model.cache, text: flags.text, bos: flags.bos === true }
        terminal.print(flags.json === true ? JSON.stringify({ ...about, ...result }, null, 2) : describe(model, result))
      } finally {
        terminal.stop()
      }
    })
}

function cut(model: CausalLm, text: string, flags: EvalFlags): readonly number[] {
  const tokens = model.needTokenizer().encode(text, { bos: flags.bos === true, special: false })
  return flags.limit === undefined ? tokens : tokens.slice(0, wholeNumber('--limit', flags.limit, 2))
}

const plain = ({ value, error }: Estimate, digits: number): string => `${value.toFixed(digits)} ± ${error.toFixed(digits)}`
const small = ({ value, error }: Estimate): string => `${value.toPrecision(4)} ± ${error.toPrecision(2)}`
const percent = ({ value, error }: Estimate): string => `${(100 * value).toFixed(2)} ± ${(100 * error).toFixed(2)} %`

function describe(model: CausalLm, result: Perplexity | Divergence): string {
  const lines = [`${result.tokens} tokens, windows of ${result.window} every ${result.stride}; ${model.engine}, cache ${model.cache}`]
  if (!('kl' in result)) return [...lines, `perplexity   ${plain(result.perplexity, 4)}`, `loss         ${plain(result.loss, 5)} nats`].join('\n')
  return [
    ...lines,
    `perplexity   ${plain(result.perplexity, 4)}   reference ${plain(result.reference, 4)}`,
    `log ratio    ${small(result.logRatio)}`,
    `mean KL      ${small(result.kl.mean)}`,
    `99 % KL      ${small(result.kl.p99)}`,
    `99.9 % KL    ${small(result.kl.p999)}`,
    `maximum KL   ${result.kl.max.toPrecision(4)}`,
    `same top     ${percent(result.sameTop)}`,
    `RMS Δp       ${percent(result.deltaP)}`,
  ].join('\n')
}
