import type { Command } from 'commander'
import { chatLmCommand } from '../lm/chat.js'
import { evalLmCommand } from '../lm/eval.js'
import { finetuneLmCommand } from '../lm/finetune.js'
import { generateLmCommand } from '../lm/generate.js'
import { inspectLmCommand } from '../lm/inspect.js'
import { quantizeLmCommand } from '../lm/quantize.js'

/** `lowbit lm …`, and `lowbit chat` beside it. */
export function lmCommands(program: Command): void {
  const lm = program.command('lm').description('language models: look at one, quantize, fine-tune, generate, chat, measure')
  lm.addHelpText('after', '\nExamples:\n  $ lowbit lm inspect model.gguf\n  $ lowbit lm quantize ./model -w int4 -c text.txt -o model.gguf\n  $ lowbit lm finetune model.gguf -d chat.jsonl --lora 16 --base nf4 -o adapter/\n  $ lowbit lm generate model.gguf "Once upon a time"\n  $ lowbit lm eval model.gguf --text wiki.txt\n  $ lowbit chat model.gguf')
  for (const add of [inspectLmCommand, generateLmCommand, chatLmCommand, evalLmCommand, quantizeLmCommand, finetuneLmCommand]) add(lm)
  for (const command of lm.commands) command.exitOverride()
  chatLmCommand(program)
}
