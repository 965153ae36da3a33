/**
 * What stands in the place of `@lowbit/formats/node` where there are no files: bundlers take this one. Whoever imports the other asks
 * first whether it runs in Node.
 */
export const files = false
