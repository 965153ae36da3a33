import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { isLowbitError } from '@lowbit/core'
import { openCausalLm, type CausalLm, type ChatMessage, type GenerateOptions } from '@lowbit/causal-lm'
import { processTerminal, type Terminal } from '../output/terminal.js'
import { addGenerateOptions, addModelOptions, generateOptions, openOptions, type GenerateFlags, type ModelFlags } from './flags.js'
import { speedLine } from './generate.js'
import { generationLog } from './log-file.js'

type ChatFlags = ModelFlags & GenerateFlags & { system?: string; log?: string }

/** `lowbit lm chat`, and `lowbit chat` */
export function chatLmCommand(program: Command): void {
  addGenerateOptions(addModelOptions(program.command('chat')))
    .description('talk with a model in the terminal')
    .argument('<model>', 'a .gguf file or a Hugging Face folder with a chat template')
    .option('--system <text>', 'what stands before the conversation')
    .option('--log <file>', 'append each answer as a line of JSON')
    .addHelpText('after', '\nWrite a line and press Enter. /new begins again, /quit ends; Ctrl-C stops an answer.\n\nExamples:\n  $ lowbit chat SmolLM2-135M-Instruct.Q4_1.gguf\n  $ lowbit chat model.gguf --system "Answer in one sentence." --temperature 0')
    .action(async (path: string, flags: ChatFlags) => {
      const terminal = processTerminal()
      try {
        const options = generateOptions(flags, { temperature: 0.7, topK: 40, topP: 0.95 })
        using model = await openCausalLm(path, { ...openOptions(flags), onProgress: terminal.onProgress, signal: terminal.signal })
        terminal.stop()
        await converse(model, { ...options, ...(flags.log === undefined ? {} : { log: generationLog(flags.log) }) }, flags.system, terminal)
      } finally {
        terminal.stop()
      }
    })
}

async function converse(model: CausalLm, options: GenerateOptions, system: string | undefined, terminal: Terminal): Promise<void> {
  const start: readonly ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }]
  let messages = [...start]
  let speed = ''
  terminal.note(`${model.name}, ${model.engine}. /new begins again, /quit ends.`)
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: process.stdin.isTTY })
  // The answer that Ctrl-C stops; without one it ends the conversation.
  let answering: AbortController | undefined
  lines.on('SIGINT', () => {
    if (answering === undefined) lines.close()
    else answering.abort()
  })
  try {
    lines.setPrompt('> ')
    lines.prompt()
    for await (const line of lines) {
      const text = line.trim()
      if (text === '/quit') break
      if (text === '/new') messages = [...start]
      else if (text !== '') {
        answering = new AbortController()
        const asked: ChatMessage[] = [...messages, { role: 'user', content: text }]
        const answer = await say(model, asked, { ...options, signal: answering.signal }, terminal)
        answering = undefined
        if (answer !== undefined) {
          messages = [...asked, { role: 'assistant', content: answer.text }]
          speed = answer.speed
        }
      }
      lines.prompt()
    }
  } finally {
    lines.close()
  }
  terminal.note(`\n${speed}`)
}

/** One answer, as it comes. Undefined if it was stopped, or does not fit: the conversation stays as it was. */
async function say(model: CausalLm, messages: readonly ChatMessage[], options: GenerateOptions, terminal: Terminal): Promise<{ readonly text: string; readonly speed: string } | undefined> {
  try {
    const generation = model.generate(messages, options)
    for await (const { text } of generation) process.stdout.write(text)
    process.stdout.write('\n')
    const result = await generation.result()
    return { text: result.text, speed: speedLine(result, model.engine) }
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_ABORTED')) process.stdout.write('\n')
    else if (isLowbitError(error, 'LOWBIT_LIMIT')) terminal.note(`${error.message}; /new begins again`)
    else throw error
    return undefined
  }
}
