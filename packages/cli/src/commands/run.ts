import type { Command } from 'commander'
import { parseRecipe } from '@lowbit/core'
import { readTextFile } from '@lowbit/formats/node'
import { reportJson, reportText } from '@lowbit/report'
import { processTerminal } from '../output/terminal.js'
import { execute, executeOptions, recipeFolder } from './execute.js'

/** `lowbit run` */
export function runCommand(program: Command): void {
  program
    .command('run')
    .description('run a recipe: the same recipe and model give the same bytes')
    .argument('<recipe>', 'a recipe in JSON; its paths are relative to it')
    .option('--calibration-cache <file>', 'keep what calibration finds in this file; later runs on the same model, data and weights make no pass over the data')
    .option('--threads <n>', 'worker threads for calibrated rounding (default: as many as processors, 8 at most)')
    .option('--no-clobber', 'refuse to replace files that are already there')
    .option('--force', 'write the model even if the calibration data shows it to be ruined')
    .option('--report <file>', 'write the report: .json, or .html to look at')
    .option('--json', 'print the report as JSON')
    .option('-q, --quiet', 'no progress bar and no notes')
    .addHelpText('after', '\nExamples:\n  $ lowbit quantize model.onnx -w int4 --save-recipe recipe.json\n  $ lowbit run recipe.json')
    .action(async (file: string, flags: { report?: string; threads?: string; calibrationCache?: string; clobber?: boolean; force?: boolean; json?: boolean; quiet?: boolean }) => {
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true })
      const { result, output } = await execute(parseRecipe(await readTextFile(file)), recipeFolder(file), terminal, { ...executeOptions(flags), recipeSource: file })
      terminal.print(flags.json === true ? reportJson(result.report).trimEnd() : reportText(result.report, output))
    })
}
