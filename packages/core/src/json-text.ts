import { MAX_DEPTH } from './options/depth.js'

/**
 * Parses JSON that may be hostile.
 * @throws SyntaxError for what is no JSON, RangeError for values nested deeper than {@link MAX_DEPTH}; both with a message to show
 */
export function parseJsonText(text: string): unknown {
  let depth = 0
  let inText = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inText) {
      if (c === 92) i++
      else if (c === 34) inText = false
    } else if (c === 34) inText = true
    else if (c === 123 || c === 91) {
      if (++depth > MAX_DEPTH) throw new RangeError(`values more than ${MAX_DEPTH} deep`)
    } else if (c === 125 || c === 93) depth--
  }
  return JSON.parse(text)
}
