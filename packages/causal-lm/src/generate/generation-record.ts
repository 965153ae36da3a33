import type { ChatMessage } from '../tokenizer/index.js'
import type { Sampling } from './sampling.js'

/** What a log keeps of one generation; one line of JSON. */
export interface GenerationRecord {
  /** When it ended, ISO 8601. */
  readonly time: string
  readonly model: string
  /** SHA-256 over the model's structure, its gains and the beginning of each matrix. */
  readonly hash: string
  readonly prompt: string | readonly ChatMessage[] | readonly number[]
  readonly settings: Sampling & { readonly maxTokens: number; readonly stop: string | readonly string[] }
  readonly promptTokens: number
  readonly reusedTokens: number
  readonly tokens: readonly number[]
  readonly text: string
  /** `left`: whoever read the text stopped reading. */
  readonly finish: 'end' | 'stop' | 'length' | 'left' | 'aborted' | 'failed'
  readonly promptMs: number
  readonly decodeMs: number
  readonly tokensPerSecond: number
}
