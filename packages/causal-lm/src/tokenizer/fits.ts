import { LowbitError } from '@lowbit/core'
import type { Tokenizer } from './tokenizer.js'

/**
 * Checks that every token has a row in a model's embedding. More rows than tokens are usual: embeddings are padded.
 * @param vocabulary Rows of the embedding. @throws LOWBIT_FORMAT if tokens would have none.
 */
export function expectTokenizerFits(tokenizer: Tokenizer, vocabulary: number, thing: string): void {
  if (tokenizer.size > vocabulary) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: `a tokenizer of ${tokenizer.size} tokens (${tokenizer.name}) for an embedding of ${vocabulary} rows`, expected: 'a row for each token', fix: 'the tokenizer may belong to another model' })
  }
}
