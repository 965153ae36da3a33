/** Text as HTML and SVG show it, in attributes too. Names come from model files: nothing in them may become markup. */
export function escapeText(text: string): string {
  // XML has no way to write most control characters.
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
}
