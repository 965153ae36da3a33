import type { Command } from 'commander'
import type { Recipe } from '@lowbit/core'
import { addFlags, readFlags } from '../flags/flag.js'
import { reportJson, formatReport } from '@lowbit/report'
import { refuseStream } from '../output/files.js'
import { processTerminal, type Terminal } from '../output/terminal.js'
import { budgetOverrides, parseSize } from './budget.js'
import { execute, executeOptions, recipeFolder } from './execute.js'
import { QUANTIZE_FLAGS, type QuantizeValues } from '../recipes/quantize-flags.js'
import { formatOf } from '../recipes/recipe-of-values.js'
import { recipeFromFlags } from './recipe-from-flags.js'

/** `lowbit quantize` */
export function quantizeCommand(program: Command): void {
  const command = program.command('quantize').description('make a smaller model from an ONNX model').argument('<model>', 'an .onnx file')
  addFlags(command, QUANTIZE_FLAGS)
    .addHelpText(
      'after',
      `
Examples:
  $ lowbit quantize model.onnx
      int8 weights and dynamic int8 activations, no data needed
  $ lowbit quantize model.onnx --weights int4 --group 32
      int4 weights in MatMulNBits
  $ lowbit quantize model.onnx -w int4 -c samples.npz -o small.onnx
      int4 with what rounds each row best, calibrated on samples.npz
  $ lowbit quantize model.onnx -c photos/ --image-size 224
      static int8, calibrated on a folder of images
  $ lowbit quantize model.onnx -c photos/ --calibration-cache model.stats --method entropy
      keep the statistics: the next run with another --method or --activations reads them instead of the photos
  $ lowbit quantize model.onnx -c photos/ --operators all --activations uint16
      every operator that takes part elsewhere, with 16-bit activations
  $ lowbit quantize model.onnx -w int4 -x "*lm_head*" --save-recipe recipe.json
      leave one layer in float, keep the settings in a file`,
    )
    .action(async (model: string) => {
      const values = readFlags<QuantizeValues>(command, QUANTIZE_FLAGS, (v) => (name) => (name === 'format' ? formatOf(v) : undefined))
      refuseStream('--output', values.output)
      const folder = values.saveRecipe === undefined ? process.cwd() : recipeFolder(values.saveRecipe)
      const terminal = processTerminal({ quiet: values.quiet === true || values.json === true })
      const recipe = await withBudget(recipeFromFlags(model, values, folder), model, values, folder, terminal)
      const { result, output } = await execute(recipe, folder, terminal, { ...executeOptions(values), allowPlugins: true })
      terminal.print(values.json === true ? reportJson(result.report).trimEnd() : formatReport(result.report, output))
    })
}

/** With `--budget`, the schemes that fit it become overrides: the recipe says what was chosen, not how. */
async function withBudget(recipe: Recipe, model: string, values: QuantizeValues, folder: string, terminal: Terminal): Promise<Recipe> {
  if (values.budget === undefined) return recipe
  const size = parseSize(values.budget)
  const { calibration } = recipe
  if (calibration === undefined) return recipe
  const chosen = await budgetOverrides({ model, bytes: size, types: values.weights ?? ['int4', 'int8'], recipe, calibration, folder, terminal })
  // A budget that the float model fits asks for just that.
  return { ...recipe, overrides: [...chosen, ...(recipe.overrides ?? [])], ...(chosen.every((o) => o.weights === null) ? { allowNothing: true } : {}) }
}
