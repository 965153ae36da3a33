import { lora } from '@lowbit/algos-lora'
import { writeGgufAdapter, writePeft, type ModelInput } from '@lowbit/causal-lm'
import { fineTune, openTrainable, packSamples, textSamples, trainedAdapter } from '@lowbit/causal-lm/train'
import { isLowbitError, weightScheme, type TrainingBackend } from '@lowbit/core'
import type { Answer } from './messages.js'

export interface TabTraining {
  readonly name: string
  readonly text: string
  readonly steps: number
  readonly rank: number
  readonly say: (answer: Answer) => void
  readonly signal: AbortSignal
}

/** What a tab may take before it dies: half of what the machine says it has, 4 GiB at most as WebAssembly addresses. */
export function tabMemory(): number {
  const stated: unknown = Reflect.get(navigator, 'deviceMemory')
  return Math.min(4, typeof stated === 'number' ? stated / 2 : 2) * 2 ** 30
}

/** Trains an adapter beside a model in NF4 (or in the codes of its file), a layer and 64 rows of logits in memory at a time. */
export async function trainInTab<T>(backend: TrainingBackend<T>, input: ModelInput, { name, text, steps, rank, say, signal }: TabTraining): Promise<void> {
  const { model, tokenizer } = await openTrainable(input, {
    backend, recompute: 1, logitRows: 64, signal,
    adapter: { algorithm: lora({ rank }), base: weightScheme('nf4', { group: 64 }) },
    onProgress: ({ done, total }) => { say({ kind: 'progress', what: 'Reading the model', done, total }) },
  })
  try {
    if (tokenizer === undefined) throw new Error('the model has no tokenizer')
    const windows = packSamples(textSamples(text, tokenizer), Math.min(128, model.config.context))
    let done = 0
    try {
      await fineTune(model, {
        windows, steps, batch: 1, learningRate: 2e-4, maxMemory: tabMemory(), signal,
        onStep: ({ step, loss, tokensPerSecond, secondsLeft }) => {
          done = step
          say({ kind: 'step', step, steps, loss, tokensPerSecond, secondsLeft })
        },
      })
    } catch (error) {
      // What was learned until it was stopped is an adapter too.
      if (!isLowbitError(error, 'LOWBIT_ABORTED') || done === 0) throw error
    }
    const adapter = trainedAdapter(model)
    const files = [...writePeft(adapter, name)].map(([file, bytes]) => ({ name: file, bytes }))
    say({ kind: 'done', steps: done, files: [...files, { name: 'adapter.gguf', bytes: await writeGgufAdapter(adapter, model.config) }] })
  } finally {
    model.dispose()
  }
}
