import type { Command } from 'commander'
import { parseRecipe } from '@lowbit/core'
import { readTextFile } from '@lowbit/formats/node'
import { OUTPUT_FLAGS, RUN_FLAGS, type OutputValues, type RunValues } from '../flags/common.js'
import { addFlags, readFlags } from '../flags/flag.js'
import { reportJson, formatReport } from '@lowbit/report'
import { processTerminal } from '../output/terminal.js'
import { UNION } from '../recipes/union.js'
import { execute, executeOptions, recipeFolder } from './execute.js'

const FLAGS = { ...RUN_FLAGS, ...OUTPUT_FLAGS }

/** `lowbit run` */
export function runCommand(program: Command): void {
  const command = program.command('run').description('run a recipe: the same recipe and model give the same bytes').argument('<recipe>', 'a recipe in JSON; its paths are relative to it')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nExamples:\n  $ lowbit quantize model.onnx -w int4 --save-recipe recipe.json\n  $ lowbit run recipe.json')
    .action(async (file: string) => {
      const values = readFlags<OutputValues & RunValues>(command, FLAGS)
      const terminal = processTerminal({ quiet: values.quiet === true || values.json === true })
      const { result, output } = await execute(parseRecipe(await readTextFile(file), UNION), recipeFolder(file), terminal, { ...executeOptions(values), recipeSource: file })
      terminal.print(values.json === true ? reportJson(result.report).trimEnd() : formatReport(result.report, output))
    })
}
