import { LowbitError } from '@lowbit/core'
import type { Architecture } from './architecture.js'
import { bitnet } from './bitnet.js'
import { gemma3 } from './gemma3.js'
import { llama } from './llama.js'
import { qwen2 } from './qwen2.js'
import { qwen3 } from './qwen3.js'

/** Every architecture that is read. Each has a model that a peer judges it by (golden sets lm-forward, lm-gguf). */
export const ARCHITECTURES: readonly Architecture[] = [llama, qwen2, qwen3, gemma3, bitnet]

/** @throws LOWBIT_UNSUPPORTED naming the architecture and what is read. */
export function findArchitecture(kind: 'huggingFace' | 'gguf', type: string, thing: string): Architecture {
  const found = ARCHITECTURES.find((architecture) => architecture[kind] === type)
  if (found !== undefined) return found
  const known = ARCHITECTURES.flatMap((architecture) => architecture[kind] ?? [])
  throw new LowbitError('LOWBIT_UNSUPPORTED', {
    thing,
    found: `architecture '${type.slice(0, 80)}'`,
    expected: `one of ${known.join(', ')}`,
    fix: 'what is missing is a description of its layers: see Architecture in @lowbit/causal-lm',
  })
}

export type { Architecture } from './architecture.js'
export * from './roles.js'
