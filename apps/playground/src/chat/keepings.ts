import { int4, int8, type Scheme } from '@lowbit/core'
import type { Keeping } from './chat-state.js'

/** Ways of keeping the weights of a language model in memory. */
export const KEEPINGS: readonly Keeping[] = [
  { id: 'file', title: 'As in the file', about: 'nothing is rounded anew' },
  { id: 'int8', title: '8 bits', about: 'groups of 32 weights share a scale' },
  { id: 'int4', title: '4 bits', about: 'groups of 32; embeddings keep 8' },
]

/** What a way of keeping rounds float weights to; what is rounded in the file stays as it is. */
export function schemeOf(keeping: string): Scheme | undefined {
  return keeping === 'int8' ? int8({ group: 32 }) : keeping === 'int4' ? int4({ group: 32 }) : undefined
}
