import { formatBytes, modelExplorerData, reportHtml } from '@lowbit/report'
import { html, nothing, type TemplateResult } from 'lit-html'
import type { Controller } from '../controller.js'
import type { VariantResult } from '../lab/messages.js'
import type { Variant } from '../state.js'
import { download } from '../take-home/download.js'
import { linkHash, summarise } from '../take-home/link.js'
import { dataNote, outputName, recipeName, TOKENS, wholeCommand, wholeRecipe } from '../take-home/recipe-file.js'

/** Everything that leaves the page, on the user's word. */
export function takeHomeView(controller: Controller, model: string, { name, recipe, data, result }: Variant & { readonly result: VariantResult }): TemplateResult {
  const file = outputName(model, recipe)
  const command = wholeCommand(recipe, model, data)
  const note = dataNote(data)
  const { report, details } = result
  const link = (): string => new URL(`#${linkHash({ recipe, summary: summarise(model, result) })}`, location.href).href
  const copy = (text: string, what: string) => (): void => {
    void navigator.clipboard.writeText(text).then(
      () => controller.announce(`${what} copied.`),
      () => controller.announce(`This browser did not allow copying. Select the ${what.toLowerCase()} and copy it yourself.`),
    )
  }
  return html`
    <section class="home" aria-labelledby="home-title">
      <h2 id="home-title">Take it home</h2>
      <div class="row">
        <button class="main" id="download-model" @click=${() => download(result.model, file)}>Download ${file} <small>${formatBytes(report.sizeAfter)}</small></button>
      </div>
      <ul class="takes">
        <li><button class="quiet" id="download-report" @click=${() => download(reportHtml(report, details, report.comparison, file), `${file}.html`)}>Report</button><span>one page with everything below, to keep or send</span></li>
        <li><button class="quiet" id="download-recipe" @click=${() => download(`${JSON.stringify(wholeRecipe(recipe, model, data), null, 2)}\n`, recipeName(model))}>Recipe</button><span>the same file again, anywhere: <code>lowbit run ${recipeName(model)}</code>${note === undefined ? nothing : html` ${note}`}</span></li>
        ${result.tokens === undefined ? nothing : html`<li><button class="quiet" @click=${() => result.tokens !== undefined && download(result.tokens, TOKENS)}>Tokens</button><span>your texts as the model reads them, for the recipe and the command</span></li>`}
        <li><button class="quiet" id="copy-link" @click=${copy(link(), 'Link')}>Copy a link</button><span>carries these settings and the figures of “${name}”, never weights</span></li>
        <li><button class="quiet" id="download-nodes" @click=${() => download(JSON.stringify(modelExplorerData(report, result.outputs), null, 2), `${file}.node-data.json`)}>Node data</button><span>the error of every site, for Model Explorer</span></li>
      </ul>
      <div class="command">
        <label for="command">The command that does the same</label>
        <div class="row"><input id="command" readonly .value=${command} @focus=${(e: Event) => e.target instanceof HTMLInputElement && e.target.select()} /><button class="quiet" @click=${copy(command, 'Command')}>Copy</button></div>
      </div>
    </section>
  `
}
