import { defineConfig, type Options } from 'tsup'

/** The one build setting of all our packages: ESM with types; what stands in package.json stays external. */
export function library(options: Options = {}): ReturnType<typeof defineConfig> {
  return defineConfig(libraryOptions(options))
}

/** {@link library}, for a package that is built in several ways. */
export function libraryOptions(options: Options = {}): Options {
  return {
    entry: ['src/index.ts'],
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    dts: { compilerOptions: { paths: {}, baseUrl: '.' } },
    splitting: true,
    sourcemap: false,
    clean: true,
    ...options,
  }
}
