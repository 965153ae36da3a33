import { html, nothing, type TemplateResult } from 'lit-html'
import type { Answer, VariantResult } from '../lab/messages.js'
import type { Variant } from '../state.js'

/** What the original and the variant say of the same pictures. */
export function answersView({ data, result }: Variant & { readonly result: VariantResult }, labels: readonly string[]): TemplateResult | typeof nothing {
  if (result.answers.length === 0 || data === undefined) return nothing
  const changed = result.answers.filter(({ before, after }) => before[0]?.[0] !== after[0]?.[0]).length
  return html`
    <section aria-labelledby="answers-title">
      <h2 id="answers-title">Answers before and after</h2>
      <p class="soft">${changed === 0 ? `The first answer is the same for all ${result.answers.length} pictures.` : `The first answer changed for ${changed} of ${result.answers.length} pictures.`}</p>
      <ul class="answers">
        ${result.answers.map(({ name, before, after }) => {
          const file = data.files.find((f) => f.name === name)
          const isChanged = before[0]?.[0] !== after[0]?.[0]
          return html`<li class=${isChanged ? 'changed' : ''}>
            ${file === undefined ? nothing : html`<img src=${addressOf(file)} alt=${`Sample ${name}`} loading="lazy" width="96" height="96" />`}
            <div>
              <table>
                <caption class="unseen">${name}: answers of the original and of the variant</caption>
                <thead><tr><th scope="col">Original</th><th scope="col">Now</th></tr></thead>
                <tbody>${before.map((answer, i) => html`<tr><td>${answerView(answer, labels)}</td><td>${answerView(after[i], labels)}</td></tr>`)}</tbody>
              </table>
              ${isChanged ? html`<em>changed</em>` : nothing}
            </div>
          </li>`
        })}
      </ul>
    </section>
  `
}

function answerView(answer: Answer | undefined, labels: readonly string[]): TemplateResult {
  if (answer === undefined) return html``
  const [index, share] = answer
  return html`<span class="label">${labels[index] ?? `class ${index}`}</span> <span class="n">${(share * 100).toFixed(share > 0.0995 ? 0 : 1)} %</span>`
}

/** One address a file, as long as the page lives. */
const addresses = new WeakMap<File, string>()

function addressOf(file: File): string {
  const known = addresses.get(file)
  if (known !== undefined) return known
  const made = URL.createObjectURL(file)
  addresses.set(file, made)
  return made
}
