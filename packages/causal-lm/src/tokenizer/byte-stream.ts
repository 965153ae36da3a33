import type { DecodeOptions, TokenStream } from './tokenizer.js'

/** Bytes of tokens to text; what is not valid UTF-8 comes as U+FFFD. */
export function decodeUtf8(parts: Iterable<Uint8Array>): string {
  const stream = utf8Stream()
  let text = ''
  for (const part of parts) text += stream.push(part)
  return text + stream.end()
}

function utf8Stream(): { push(bytes: Uint8Array): string; end(): string } {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return { push: (bytes) => decoder.decode(bytes, { stream: true }), end: () => decoder.decode() }
}

/** A stream over tokens that each stand for bytes. */
export function byteTokenStream(bytesOf: (id: number) => Uint8Array, isSpecial: (id: number) => boolean, { skipSpecial = false }: DecodeOptions): TokenStream {
  const stream = utf8Stream()
  return { push: (id) => (skipSpecial && isSpecial(id) ? '' : stream.push(bytesOf(id))), end: () => stream.end() }
}
