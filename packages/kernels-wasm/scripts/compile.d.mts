/** Compiles an entry of assembly/ with more flags of the compiler. Base64. */
export function compile(features: readonly string[], entry?: string): Promise<string>
