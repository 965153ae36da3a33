/** True in Node, Bun and Deno: where files and native packages are. */
export function isNode(): boolean {
  return typeof process !== 'undefined' && typeof process.versions?.node === 'string'
}
