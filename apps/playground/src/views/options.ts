import { recipeOptions } from '@lowbit/core'
import { UNION } from 'lowbit/recipes'
import { html, type TemplateResult } from 'lit-html'
import type { Controller } from '../controller.js'
import { valueAt } from '../options/recipe-path.js'
import { fieldView } from './field.js'

/** What stands elsewhere on the page, or is no choice. */
const ELSEWHERE = ['$schema', 'lowbit', 'model', 'output', 'plugins', 'calibration']

/** Every option of a recipe, from the declarations that check it: the page knows none by name. */
export function optionsView(controller: Controller): TemplateResult {
  const { recipe, data } = controller.store.state
  const options = Object.entries(recipeOptions(UNION)).filter(([name]) => !ELSEWHERE.includes(name))
  const lookup = (name: string): unknown => (name === 'calibration' ? data : valueAt(recipe, [name]))
  return html`<div class="fields">
    ${options.map(([name, declaration]) => fieldView({ name, declaration, path: [name], value: recipe, prefix: 'option', onChange: (path, value) => controller.setOption(path, value), lookup }))}
  </div>`
}
