import type { DecoderSession } from '../generate/decoder-session.js'
import { meanOf, type Estimate } from './estimate.js'
import { logSumExp, scoreTokens, type ScoreOptions, type Scored } from './score.js'

export interface Perplexity extends Scored {
  /** `exp` of the mean negative log likelihood; its error by propagation. */
  readonly perplexity: Estimate
  /** Mean negative log likelihood, nats a token. */
  readonly loss: Estimate
}

/** How surprised a model is by a text. @throws as {@link scoreTokens}. */
export async function measurePerplexity(session: DecoderSession, tokens: readonly number[], options: ScoreOptions = {}): Promise<Perplexity> {
  const losses: number[] = []
  const scored = await scoreTokens([session], tokens, ([logits], token) => void losses.push(logSumExp(logits) - logits[token]), options)
  return { ...scored, ...perplexityOf(Float64Array.from(losses)) }
}

export function perplexityOf(losses: Float64Array): Pick<Perplexity, 'perplexity' | 'loss'> {
  const loss = meanOf(losses)
  const value = Math.exp(loss.value)
  return { loss, perplexity: { value, error: value * loss.error } }
}
