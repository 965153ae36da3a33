import type { LinAlg, SyncKernelProvider } from '@lowbit/core'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { openModelFile, type ModelFile, type ModelInput } from '../open/model-file.js'
import { CausalLmHost } from './causal-lm-host.js'
import { ModelState } from './model-state.js'

export interface OpenCausalLmHostOptions {
  /** What runs it. Default: WebAssembly kernels, made for this host and disposed of with it. `float`: plain TypeScript. */
  readonly kernels?: SyncKernelProvider | 'float'
  /** Threads of the default kernels. */
  readonly threads?: number
  /** For Gram matrices. Default: core's. */
  readonly linalg?: LinAlg
}

/**
 * Opens a decoder language model for {@link https://www.npmjs.com/package/@lowbit/core | quantize()}: batches are
 * `{ tokens: int32 [batch, length] }`, each row a text of its own.
 * @param input - as for `openCausalLm`, or a model file that is open; the host closes it
 * @throws as `openCausalLm`
 */
export async function openCausalLmHost(input: ModelInput | ModelFile, options: OpenCausalLmHostOptions = {}): Promise<CausalLmHost> {
  const file = typeof input === 'object' && 'weights' in input ? input : await openModelFile(input)
  try {
    const state = await ModelState.open(file.weights)
    const isOwn = options.kernels === undefined
    const kernels = options.kernels === 'float' ? undefined : (options.kernels ?? (await createWasmKernels(options.threads === undefined ? {} : { threads: options.threads })))
    return new CausalLmHost({
      name: file.name,
      state,
      engine: {
        kernels,
        dispose() {
          if (isOwn) kernels?.dispose()
        },
      },
      tokenizer: () => file.ggufTokenizer(),
      ...(options.linalg === undefined ? {} : { linalg: options.linalg }),
      ...(file.files === undefined ? {} : { files: file.files }),
    })
  } catch (error) {
    await file.weights.close()
    throw error
  }
}
