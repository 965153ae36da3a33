import type { Command } from 'commander'
import { openCausalLm, type GenerationResult } from '@lowbit/causal-lm'
import { processTerminal } from '../output/terminal.js'
import { addGenerateOptions, addModelOptions, generateOptions, openOptions, type GenerateFlags, type ModelFlags } from './flags.js'
import { generationLog } from './log-file.js'

/** `lowbit lm generate` */
export function generateLmCommand(lm: Command): void {
  addGenerateOptions(addModelOptions(lm.command('generate')))
    .description('let a model go on with a text')
    .argument('<model>', 'a .gguf file, a Hugging Face folder, or a llama2.c .bin')
    .argument('[prompt]', 'the text; from standard input if left out')
    .option('--log <file>', 'append prompt, settings, tokens and times as a line of JSON')
    .option('--json', 'print the result as JSON when it is whole')
    .addHelpText('after', '\nExamples:\n  $ lowbit lm generate model.gguf "Once upon a time" --max-tokens 64\n  $ lowbit lm generate model.gguf < story.txt --temperature 0.8 --seed 1')
    .action(async (path: string, prompt: string | undefined, flags: ModelFlags & GenerateFlags & { log?: string; json?: boolean }) => {
      const terminal = processTerminal()
      try {
        const options = generateOptions(flags, { temperature: 0, topK: 0, topP: 1 })
        const text = prompt ?? (await standardInput())
        using model = await openCausalLm(path, { ...openOptions(flags), onProgress: terminal.onProgress, signal: terminal.signal })
        const generation = model.generate(text, { ...options, signal: terminal.signal, ...(flags.log === undefined ? {} : { log: generationLog(flags.log) }) })
        if (flags.json !== true) {
          for await (const piece of generation) process.stdout.write(piece.text)
          process.stdout.write('\n')
        }
        const result = await generation.result()
        if (flags.json === true) terminal.print(JSON.stringify(result, null, 2))
        else terminal.note(speedLine(result, model.engine))
      } finally {
        terminal.stop()
      }
    })
}

/** `142 tokens, 187 tokens/s; prompt of 12 in 40 ms; relaxed-simd, 1 thread` */
export function speedLine(result: GenerationResult, engine: string): string {
  const read = result.promptTokens - result.reusedTokens
  return `${result.tokens.length} tokens, ${result.tokensPerSecond.toFixed(1)} tokens/s; prompt of ${read}${result.reusedTokens > 0 ? ` (and ${result.reusedTokens} known)` : ''} in ${result.promptMs.toFixed(0)} ms; ${engine}`
}

async function standardInput(): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks).toString('utf8')
}
