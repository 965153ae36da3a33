import type { DecoderSession } from '../generate/decoder-session.js'
import { likeliest } from '../generate/sampling.js'
import { meanOf, quantileOf, rootMeanSquare, shareOf, type Estimate } from './estimate.js'
import { perplexityOf } from './perplexity.js'
import { logSumExp, scoreTokens, type ScoreOptions, type Scored } from './score.js'

/** What llama.cpp measures of a quantized model against another: `p` is the reference's distribution, `q` the model's. */
export interface Divergence extends Scored {
  readonly reference: Estimate
  readonly perplexity: Estimate
  /** Mean of `log PPL(model) − log PPL(reference)`, token by token: errors that both make cancel. */
  readonly logRatio: Estimate
  /** `Σ p log(p / q)` over the whole vocabulary, nats a token. */
  readonly kl: { readonly mean: Estimate; readonly p99: Estimate; readonly p999: Estimate; readonly max: number }
  /** Share of tokens for which both find the same one likeliest. */
  readonly sameTop: Estimate
  /** Root mean square of the change of the probability of the text's own token, 0 to 1. */
  readonly deltaP: Estimate
}

/** Reads a text with both models side by side. @throws as {@link scoreTokens}. */
export async function measureDivergence(model: DecoderSession, reference: DecoderSession, tokens: readonly number[], options: ScoreOptions = {}): Promise<Divergence> {
  const kl: number[] = []
  const deltas: number[] = []
  const losses: number[] = []
  const referenceLosses: number[] = []
  let same = 0
  const scored = await scoreTokens([model, reference], tokens, ([q, p], token) => {
    const [sumQ, sumP] = [logSumExp(q), logSumExp(p)]
    kl.push(divergence(p, sumP, q, sumQ))
    losses.push(sumQ - q[token])
    referenceLosses.push(sumP - p[token])
    deltas.push(Math.exp(q[token] - sumQ) - Math.exp(p[token] - sumP))
    if (likeliest(p) === likeliest(q)) same++
  }, options)
  const sorted = Float64Array.from(kl).sort()
  return {
    ...scored,
    reference: perplexityOf(Float64Array.from(referenceLosses)).perplexity,
    perplexity: perplexityOf(Float64Array.from(losses)).perplexity,
    logRatio: meanOf(Float64Array.from(losses, (loss, i) => loss - referenceLosses[i])),
    kl: { mean: meanOf(sorted), p99: quantileOf(sorted, 0.99), p999: quantileOf(sorted, 0.999), max: sorted[sorted.length - 1] },
    sameTop: shareOf(same, kl.length),
    deltaP: rootMeanSquare(Float64Array.from(deltas)),
  }
}

/** Terms in double; rounding may leave a sum of about −1e-16 where both are equal. */
function divergence(p: Float32Array, sumP: number, q: Float32Array, sumQ: number): number {
  let sum = 0
  for (let i = 0; i < p.length; i++) {
    const log = p[i] - sumP
    sum += Math.exp(log) * (log - (q[i] - sumQ))
  }
  return Math.max(0, sum)
}
