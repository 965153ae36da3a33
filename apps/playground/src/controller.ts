import { isLowbitError, parseRecipe, type Recipe } from '@lowbit/core'
import { recipeOfValues, UNION } from 'lowbit/recipes'
import type { ChatLine } from './chat/chat.js'
import { EXAMPLES, loadExample } from './examples.js'
import { Lab, LabFailure } from './lab/lab.js'
import type { DataFiles, FailureSentence, ModelFiles, Progress } from './lab/messages.js'
import type { FoundFile } from './model/dropped-files.js'
import { recognise } from './model/recognise.js'
import { variantName } from './options/describe-recipe.js'
import { PRESETS } from './options/presets.js'
import { withValue, type Path } from './options/recipe-path.js'
import { Store, type State } from './state.js'
import { readLink } from './take-home/link.js'

const STEPS: Readonly<Record<Progress['step'], string>> = { opening: 'Opening the model', calibrating: 'Looking at your samples', rounding: 'Rounding weights', writing: 'Writing the file', 'looking closer': 'Looking closer', comparing: 'Comparing with the original' }

export function stepText(step: Progress['step']): string {
  return STEPS[step]
}

/** Bytes of a file with names of classes. */
const MOST_LABELS = 1 << 22

/** What the user can do. */
export class Controller {
  readonly store: Store
  readonly #lab = new Lab()
  readonly #aborts = new Map<number, AbortController>()
  #chat: ChatLine | undefined
  #nextId = 1

  constructor() {
    this.store = new Store(initialState())
  }

  /** Settings out of the page's address. */
  readAddress(hash: string): void {
    try {
      const link = readLink(hash)
      if (link === undefined) return
      this.store.set({ link, linkFailure: undefined, recipe: link.recipe, preset: undefined, isFormOpen: true })
    } catch (error) {
      this.store.set({ linkFailure: sentence(error), link: undefined })
    }
  }

  async openFound(found: readonly FoundFile[]): Promise<void> {
    const what = recognise(found)
    if (what.kind === 'nothing') return this.#failModel(found[0]?.file.name ?? 'nothing', what.failure)
    if (what.kind === 'language-model') return this.openLanguageModel(what.name, what.files)
    if (what.kind === 'data') {
      if (this.store.state.model.status === 'open') return this.addData(found)
      return this.#failModel(what.data.files[0]?.name ?? 'data', { message: 'This is data. Drop a model first, then the samples to calibrate it with.' })
    }
    if (what.kind === 'labels') return this.addLabels(what.labels)
    await this.openModel(what.model, what.data, [])
    if (what.labels !== undefined) await this.addLabels(what.labels)
  }

  async openExample(id: string): Promise<void> {
    const example = EXAMPLES.find((e) => e.id === id)
    if (example === undefined) return
    this.#forget()
    this.store.set({ model: { status: 'opening', name: example.title } })
    try {
      const loaded = await loadExample(example)
      if (loaded.kind === 'language-model') await this.openLanguageModel(loaded.name, loaded.files)
      else await this.openModel(loaded.model, loaded.data, loaded.labels)
    } catch (error) {
      this.#failModel(example.title, sentence(error))
    }
  }

  async openModel(files: ModelFiles, data: DataFiles | undefined, labels: readonly string[]): Promise<void> {
    this.#forget()
    this.store.set({ model: { status: 'opening', name: files.name }, announcement: `Opening ${files.name}` })
    try {
      const inspection = await this.#lab.inspect(files)
      this.store.set({ model: { status: 'open', files, inspection, labels }, data, announcement: `${files.name} is open: ${inspection.sites.length} places can be made smaller.` })
      if (this.store.state.link === undefined) this.choosePreset(data === undefined ? 'quarter' : 'quarter-calibrated')
    } catch (error) {
      this.#failModel(files.name, sentence(error))
    }
  }

  async openLanguageModel(name: string, files: readonly File[]): Promise<void> {
    this.#forget()
    const { ChatLine } = await import('./chat/chat.js')
    this.#chat = new ChatLine(this.store, name, files)
    await this.#chat.open()
  }

  get chat(): ChatLine | undefined {
    return this.#chat
  }

  close(): void {
    this.#forget()
    this.store.set({ model: { status: 'none' }, announcement: 'Closed. Choose another model.' })
  }

  setData(data: DataFiles | undefined): void {
    this.store.set({ data, dataFailure: undefined, announcement: data === undefined ? 'No calibration data.' : `${data.files.length} files of calibration data.` })
  }

  addData(found: readonly FoundFile[]): void {
    const what = recognise(found)
    if (what.kind === 'labels' || (what.kind === 'data' && what.labels !== undefined)) void this.addLabels(what.labels ?? new File([], ''))
    if (what.kind === 'labels') return
    if (what.kind === 'data') {
      const { model, data } = this.store.state
      // A folder with a model often has its tokenizer.
      const beside = model.status === 'open' ? model.files.data.get('tokenizer.json') : undefined
      const tokenizer = what.data.tokenizer ?? beside
      this.setData({ ...what.data, spec: data?.spec ?? {}, ...(tokenizer === undefined ? {} : { tokenizer }) })
    } else this.store.set({ dataFailure: { message: 'These are no samples: take images (.png, .jpg, .webp), arrays (.npz, .npy) with one array for each input of the model, or texts (.txt) with the model’s tokenizer.json.' } })
  }

  /** Names of classes, one a line, for answers. */
  async addLabels(file: File): Promise<void> {
    const text = await file.slice(0, MOST_LABELS).text()
    const { model } = this.store.state
    if (model.status === 'open') this.store.set({ model: { ...model, labels: text.split(/\r?\n/) }, announcement: `Names of classes from ${file.name}.` })
  }

  setDataSpec(spec: DataFiles['spec']): void {
    const { data } = this.store.state
    if (data !== undefined) this.store.set({ data: { ...data, spec } })
  }

  choosePreset(id: string): void {
    const preset = PRESETS.find((p) => p.id === id)
    if (preset !== undefined) this.store.set({ preset: id, recipe: recipeOfValues(preset.values), formFailure: undefined })
  }

  setOption(path: Path, value: unknown): void {
    const recipe = withValue(this.store.state.recipe, path, value)
    this.store.set({ recipe, preset: undefined, formFailure: problemOf(recipe) })
  }

  openForm(isFormOpen: boolean): void {
    if (this.store.state.isFormOpen !== isFormOpen) this.store.set({ isFormOpen })
  }

  /** Makes what the form says; what was made before is shown again. */
  make(): Promise<void> {
    const { recipe, preset } = this.store.state
    return this.#makeOf(recipe, preset === undefined ? undefined : PRESETS.find((p) => p.id === preset)?.title)
  }

  /** Makes every preset that the data at hand suffices for, one after the other. */
  async makeAll(): Promise<void> {
    const { data } = this.store.state
    await Promise.all(PRESETS.filter((p) => p.calibrated !== true || data !== undefined).map((p) => this.#makeOf(recipeOfValues(p.values), p.title)))
  }

  async #makeOf(recipe: Recipe, title: string | undefined): Promise<void> {
    const { model, data, variants } = this.store.state
    if (model.status !== 'open') return
    const failure = problemOf(recipe)
    if (failure !== undefined) return this.store.set({ formFailure: failure })
    const key = JSON.stringify([recipe, data?.spec, data?.files.map((f) => [f.name, f.size, f.lastModified])])
    const kept = variants.find((v) => v.key === key && v.status !== 'failed' && v.status !== 'stopped')
    if (kept !== undefined) return this.store.set({ selected: kept.id, announcement: `${kept.name} is there already.` })
    const id = this.#nextId++
    const abort = new AbortController()
    this.#aborts.set(id, abort)
    const name = title ?? variantName(recipe)
    this.store.set({ variants: [...variants.filter((v) => v.key !== key), { id, key, name, recipe, data, status: 'waiting' }], announcement: `${name}: waits for its turn` })
    try {
      const result = await this.#lab.run(model.files, recipe, data, {
        signal: abort.signal,
        onStart: () => this.store.setVariant(id, { status: 'running', progress: { step: 'opening', done: 0, total: 1 } }),
        onProgress: (progress) => this.#onProgress(id, name, progress),
      })
      this.store.setVariant(id, { status: 'done', result })
      const { selected, variants: now } = this.store.state
      this.store.set({ announcement: `${name} is done.`, ...(now.some((v) => v.id === selected && v.status === 'done') && title !== undefined ? {} : { selected: id }) })
    } catch (error) {
      if (abort.signal.aborted) this.store.setVariant(id, { status: 'stopped' })
      else {
        this.store.setVariant(id, { status: 'failed', failure: sentence(error) })
        this.store.set({ announcement: `${name} failed.` })
      }
    } finally {
      this.#aborts.delete(id)
    }
  }

  stop(id: number): void {
    this.#aborts.get(id)?.abort()
    this.store.setVariant(id, { status: 'stopped' })
    this.store.set({ announcement: 'Stopped.' })
  }

  remove(id: number): void {
    this.#aborts.get(id)?.abort()
    const { variants, selected } = this.store.state
    const rest = variants.filter((v) => v.id !== id)
    this.store.set({ variants: rest, selected: selected === id ? rest.find((v) => v.status === 'done')?.id : selected, announcement: 'Removed.' })
  }

  select(id: number): void {
    this.store.set({ selected: id })
  }

  announce(announcement: string): void {
    this.store.set({ announcement })
  }

  drag(isDragging: boolean): void {
    if (this.store.state.isDragging !== isDragging) this.store.set({ isDragging })
  }

  #onProgress(id: number, name: string, progress: Progress): void {
    const before = this.store.state.variants.find((v) => v.id === id)
    if (before?.status !== 'running') return
    this.store.setVariant(id, { progress })
    // Said once a step: every batch would be noise.
    if (before.progress?.step !== progress.step) this.store.set({ announcement: `${name}: ${STEPS[progress.step]}` })
  }

  #failModel(name: string, failure: FailureSentence): void {
    this.store.set({ model: { status: 'failed', name, failure }, announcement: failure.message })
  }

  /** Everything that belonged to another model. */
  #forget(): void {
    for (const abort of this.#aborts.values()) abort.abort()
    this.#chat?.close()
    this.#chat = undefined
    this.store.set({ variants: [], selected: undefined, data: undefined, dataFailure: undefined })
  }
}

function initialState(): State {
  return {
    model: { status: 'none' },
    data: undefined,
    dataFailure: undefined,
    recipe: recipeOfValues(PRESETS[0].values),
    preset: undefined,
    isFormOpen: false,
    formFailure: undefined,
    variants: [],
    selected: undefined,
    announcement: '',
    link: undefined,
    linkFailure: undefined,
    isDragging: false,
  }
}

/** What is wrong with what the form says. */
function problemOf(recipe: Recipe): FailureSentence | undefined {
  try {
    parseRecipe(recipe, UNION)
    return undefined
  } catch (error) {
    return sentence(error)
  }
}

function sentence(error: unknown): FailureSentence {
  if (error instanceof LabFailure) return { message: error.message, ...(error.code === undefined ? {} : { code: error.code }) }
  const message = error instanceof Error ? error.message : String(error)
  return isLowbitError(error) ? { code: error.code, message: message.replace(/^LOWBIT_[A-Z_]+: /, '') } : { message }
}
