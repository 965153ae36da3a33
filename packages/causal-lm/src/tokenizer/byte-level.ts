/**
 * GPT-2's spelling of bytes: each of the 256 as one printable character, so that a vocabulary is text.
 * Printable bytes of Latin-1 stand for themselves, the others follow from U+0100 on.
 */
const CHARACTERS: readonly string[] = (() => {
  const printable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let extra = 0
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + extra++))
})()

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]))

/** Text as the characters of its UTF-8 bytes. */
export function spellBytes(text: string): string {
  let spelled = ''
  for (const byte of new TextEncoder().encode(text)) spelled += CHARACTERS[byte] as string
  return spelled
}

/** Bytes of a spelling, or undefined if a character is not one of the 256. */
export function unspellBytes(spelling: string): Uint8Array | undefined {
  const bytes: number[] = []
  for (const character of spelling) {
    const byte = BYTES.get(character)
    if (byte === undefined) return undefined
    bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}
