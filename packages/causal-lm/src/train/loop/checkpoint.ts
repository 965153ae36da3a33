import { LowbitError, parseJsonText, recipeDifference, type HostTensor, type Json } from '@lowbit/core'
import { readSafetensors, writeSafetensors } from '@lowbit/formats'
import type { TrainableLm } from '../model/trainable-lm.js'
import type { AdamW } from './adamw.js'

/** Where the state of a training is kept: whole, or not at all. */
export interface CheckpointStore {
  load(): Promise<Uint8Array<ArrayBuffer> | undefined>
  save(bytes: Uint8Array<ArrayBuffer>): Promise<void>
}

/** What a training needs to go on beside parameters and moments. */
export interface TrainingProgress {
  /** Steps that are done. */
  readonly step: number
  /** `[step, loss]` */
  readonly losses: readonly (readonly [number, number])[]
  readonly evaluations: readonly (readonly [number, number])[]
  readonly best?: { readonly step: number; readonly loss: number }
}

export interface SavedTraining extends TrainingProgress {
  /** Parameters of the best evaluation. */
  readonly bestValues?: ReadonlyMap<string, Float32Array>
}

const VERSION = 1

/** Parameters, moments and progress as one safetensors file. */
export function writeCheckpoint<T>(model: TrainableLm<T>, optimizer: AdamW, settings: Json, progress: SavedTraining): Uint8Array<ArrayBuffer> {
  const tensors: Record<string, HostTensor> = {}
  const put = (name: string, shape: readonly number[], data: Float32Array): void => void (tensors[name] = { dtype: 'float32', shape, data: new Float32Array(data) })
  for (const { name, shape, values } of model.parts.parameters.list()) {
    // What neither the optimizer nor a forward pass changes is in the model's file.
    if (!model.parts.trained.has(name) && model.parts.parameters.get(name).kind !== 'state') continue
    put(`values ${name}`, shape, values)
    const moments = optimizer.moments.get(name)
    if (moments !== undefined) {
      put(`m ${name}`, shape, moments.m)
      put(`v ${name}`, shape, moments.v)
    }
    const best = progress.bestValues?.get(name)
    if (best !== undefined) put(`best ${name}`, shape, best)
  }
  const { step, losses, evaluations, best } = progress
  const kept: TrainingProgress = { step, losses, evaluations, ...(best === undefined ? {} : { best }) }
  return writeSafetensors(tensors, { lowbit: JSON.stringify({ version: VERSION, recipe: model.parts.recipe, settings, updates: optimizer.updates, progress: kept }) })
}

/**
 * Puts a training back where it was saved.
 * @param settings what decides the next steps; a training with others is another training
 * @throws LOWBIT_CHECKPOINT for another recipe, other settings, other sizes, a file that is none
 */
export function readCheckpoint<T>(bytes: Uint8Array, model: TrainableLm<T>, optimizer: AdamW, settings: Json): SavedTraining {
  const file = readSafetensors(bytes, 'checkpoint')
  const section = readSection(file.metadata['lowbit'])
  for (const [what, found, expected] of [['recipe', section.recipe, model.parts.recipe], ['settings', section.settings, settings]] as const) {
    const other = recipeDifference(found, expected, what)
    if (other !== undefined) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: `a training of other ${what}: ${other}`, expected: `the ${what} it was saved with`, fix: 'train with those, or into another folder' })
  }
  const take = (name: string, into: Float32Array): void => {
    if (!file.entries.has(name)) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found: `no '${name}'`, expected: 'everything that is trained' })
    const { dtype, data } = file.read(name)
    if (dtype !== 'float32' || data.length !== into.length) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: `checkpoint: ${name}`, found: `${data.length} of ${dtype}`, expected: `${into.length} of float32` })
    into.set(data as Float32Array)
  }
  const bestValues = new Map<string, Float32Array>()
  for (const { name, kind, values } of model.parts.parameters.list()) {
    if (!model.parts.trained.has(name) && kind !== 'state') continue
    take(`values ${name}`, values)
    const moments = optimizer.moments.get(name)
    if (moments !== undefined) {
      take(`m ${name}`, moments.m)
      take(`v ${name}`, moments.v)
    }
    if (section.progress.best !== undefined) {
      const best = new Float32Array(values.length)
      take(`best ${name}`, best)
      bestValues.set(name, best)
    }
    model.parts.parameters.refresh(name)
  }
  optimizer.updates = section.updates
  model.step = section.progress.step
  return { ...section.progress, ...(bestValues.size === 0 ? {} : { bestValues }) }
}

interface Section {
  readonly recipe: Json
  readonly settings: Json
  readonly updates: number
  readonly progress: TrainingProgress
}

function readSection(text: string | undefined): Section {
  const failure = (found: string): LowbitError => new LowbitError('LOWBIT_CHECKPOINT', { thing: 'checkpoint', found, expected: 'the state of a training that fineTune saved' })
  if (text === undefined) throw failure('a safetensors file without it')
  const json: unknown = parseJsonText(text)
  if (typeof json !== 'object' || json === null || !('version' in json) || json.version !== VERSION) throw failure('another version')
  if (!isSection(json)) throw failure('an incomplete section')
  return json
}

function isSection(json: object): json is Section {
  const { updates, progress } = json as Partial<Section>
  const isPoints = (value: unknown): boolean => Array.isArray(value) && value.every((p) => Array.isArray(p) && p.length === 2 && p.every((v) => typeof v === 'number'))
  return 'recipe' in json && 'settings' in json && Number.isSafeInteger(updates) && typeof progress === 'object' && Number.isSafeInteger(progress.step) && progress.step >= 0 && isPoints(progress.losses) && isPoints(progress.evaluations)
}
